"""Another program, beancount, reads the exported books and gets the same sums."""

import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest
from beancount import loader
from beancount.core.data import Balance, Transaction

from application.books.posted import ALL_TIME, Period
from infrastructure.exports.beancount import beancount_account, quoted
from infrastructure.exports.export import export
from infrastructure.exports.tables import POSTINGS, Selection
from infrastructure.log.scan import LogScan
from tests.infrastructure.exports.conftest import Stored

MICRO = 1_000_000


def bean_check(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "beancount.scripts.check", "--no-cache", str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def middle(stored: Stored) -> Period:
    times = sorted(event.timestamp for _, event in stored.events)
    return Period(since=times[len(times) // 3], until=times[2 * len(times) // 3])


@pytest.mark.parametrize("whole", [True, False])
def test_beancount_accepts_the_journal_and_agrees_to_the_micro_credit(
    scan: LogScan, stored: Stored, tmp_path: Path, whole: bool
) -> None:
    path = tmp_path / "ledger.beancount"
    period = ALL_TIME if whole else middle(stored)

    count = export(scan, path, "beancount", POSTINGS, Selection(period=period))

    checked = bean_check(path)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    entries, errors, _ = loader.load_file(str(path))
    assert errors == []
    transactions = [entry for entry in entries if isinstance(entry, Transaction)]
    assert len(transactions) == count + (0 if whole else 1), "a period opens with its balances"
    books = stored.trial_balance(Period(until=period.until))
    # What an account has is a credit, and in beancount a credit is below zero.
    held: defaultdict[str, Decimal] = defaultdict(Decimal)
    for posting in (posting for entry in transactions for posting in entry.postings):
        assert posting.units is not None
        assert posting.units.number is not None
        held[posting.account] -= posting.units.number
    for line in books.accounts:
        assert held[beancount_account(line.name)] * MICRO == line.balance_micro, line.name
    assertions = [entry for entry in entries if isinstance(entry, Balance)]
    assert {entry.account for entry in assertions} == {
        beancount_account(line.name) for line in books.accounts
    }


def test_beancount_refuses_a_journal_that_is_off_by_one_micro_credit(
    scan: LogScan, tmp_path: Path
) -> None:
    path = tmp_path / "ledger.beancount"
    export(scan, path, "beancount", POSTINGS, Selection())
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    index = next(i for i, line in enumerate(lines) if " balance Income:Revenue:Usage" in line)
    before, tilde, after = lines[index].partition(" ~ ")
    changed = before[:-1] + ("1" if before[-1] == "0" else "0")
    (tmp_path / "changed.beancount").write_text(
        "".join([*lines[:index], changed + tilde + after, *lines[index + 1 :]]), encoding="utf-8"
    )

    checked = bean_check(tmp_path / "changed.beancount")

    assert checked.returncode != 0
    assert "Balance failed for 'Income:Revenue:Usage'" in checked.stdout + checked.stderr


def test_what_a_person_typed_cannot_break_out_of_the_journal(scan: LogScan, tmp_path: Path) -> None:
    hostile = 'a "quote"\n2026-01-01 close Income:Revenue:Usage\\'
    path = tmp_path / "hostile.beancount"
    path.write_text(
        "1970-01-01 open Assets:A\n1970-01-01 open Assets:B\n"
        f'2026-01-01 * "{quoted(hostile)}"\n  Assets:A  1 CREDIT\n  Assets:B  -1 CREDIT\n',
        encoding="utf-8",
    )

    entries, errors, _ = loader.load_file(str(path))

    assert errors == []
    (transaction,) = [entry for entry in entries if isinstance(entry, Transaction)]
    assert transaction.narration == 'a "quote" 2026-01-01 close Income:Revenue:Usage\\'
