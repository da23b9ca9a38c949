"""Writes the log as a beancount journal, so that another program can check the books. The language:
https://beancount.github.io/docs/beancount_language_syntax.html

Amounts are signed in beancount: a debit is positive and a credit is negative. Users' credits are a
liability, because the service owes them. Revenue is income. The other side of bought credits is an
asset, and that of credits given away is an expense.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TextIO

from application.books.posted import Posted, posted
from domain.accounts.postings import (
    ADJUSTMENTS,
    ISSUANCE_PAID,
    ISSUANCE_PROMOTIONAL,
    REVENUE_USAGE,
)
from domain.credits import MICRO_PER_CREDIT
from infrastructure.exports.formats import utc_text
from infrastructure.exports.tables import Selection, money_topics
from infrastructure.log.scan import LogScan

COMMODITY = "CREDIT"
OPENING = "Equity:Opening-Balances"
_NAMES = {
    ISSUANCE_PAID: "Assets:Issuance:Paid",
    ISSUANCE_PROMOTIONAL: "Expenses:Issuance:Promotional",
    REVENUE_USAGE: "Income:Revenue:Usage",
    ADJUSTMENTS: "Equity:Adjustments",
}
# Earlier than any event.
_OPENED = date(1970, 1, 1)


def beancount_account(account: str) -> str:
    """The account's name in beancount, where every part must start with a capital letter."""
    if account in _NAMES:
        return _NAMES[account]
    owner, user_id, part = account.split(":")
    assert owner == "user", f"{account} has no name in beancount"
    return f"Liabilities:Users:U-{user_id}:{part.title()}"


def amount_text(amount_micro: int) -> str:
    """Six decimal places, so that beancount infers no tolerance above a micro-credit."""
    whole, micro = divmod(abs(amount_micro), MICRO_PER_CREDIT)
    return f"{'-' if amount_micro < 0 else ''}{whole}.{micro:06d}"


def write_beancount(path: Path, scan: LogScan, selection: Selection) -> int:
    """Write a transaction for each posting, and at the end a balance assertion for each account.
    The journal of a period begins with the opening balances. Returns the number of postings.

    Memory grows with the number of accounts, not of events.
    """
    with path.open("w", encoding="utf-8", newline="\n") as file:
        return _Journal(file, scan, selection).write()


class _Journal:
    """_sums_micro: debits less credits of every account so far."""

    def __init__(self, file: TextIO, scan: LogScan, selection: Selection) -> None:
        self._file = file
        self._scan = scan
        self._period = selection.period
        self._sums_micro: dict[str, int] = {}
        self._last = _OPENED

    def write(self) -> int:
        self._file.write(
            f"; The credit ledger up to position {self._scan.head}; times are in UTC.\n"
            'option "title" "chatledger"\n'
            f'option "operating_currency" "{COMMODITY}"\n\n'
            f"{_OPENED} commodity {COMMODITY}\n"
        )
        self._write_opening()
        count = 0
        for posting in self._postings():
            if self._period.covers(posting.time):
                count += 1
                self._write_posting(posting)
        self._write_balances()
        return count

    def _postings(self) -> Iterator[Posted]:
        for row, event in self._scan.events(self._scan.rows(money_topics())):
            yield from posted(row.position, event)

    def _write_opening(self) -> None:
        since = self._period.since
        if since is None:
            return
        for posting in self._postings():
            if self._period.is_before(posting.time):
                self._add(posting.source, posting.amount_micro)
                self._add(posting.destination, -posting.amount_micro)
        first = _day(since)
        self._last = first
        held = {account: total for account, total in self._sums_micro.items() if total}
        if not held:
            return
        self._file.write(f"{_OPENED} open {OPENING} {COMMODITY}\n")
        self._file.write(f'\n{first} * "Opening balances"\n')
        for account, total in held.items():
            self._file.write(f"  {beancount_account(account)}  {amount_text(total)} {COMMODITY}\n")
        # The balances sum to zero, so this line shows 0.
        self._file.write(f"  {OPENING}  {amount_text(-sum(held.values()))} {COMMODITY}\n")

    def _write_posting(self, posting: Posted) -> None:
        day = _day(posting.time)
        self._last = max(self._last, day)
        self._add(posting.source, posting.amount_micro)
        self._add(posting.destination, -posting.amount_micro)
        amount = amount_text(posting.amount_micro)
        self._file.write(
            f'\n{day} * "{quoted(posting.what)}" ^{posting.reference}\n'
            f"  position: {posting.position}\n"
            f'  time: "{utc_text(posting.time)}"\n'
            f'  event: "{posting.event}"\n'
            f"  {beancount_account(posting.source)}  {amount} {COMMODITY}\n"
            f"  {beancount_account(posting.destination)}  -{amount} {COMMODITY}\n"
        )

    def _add(self, account: str, amount_micro: int) -> None:
        if account not in self._sums_micro:
            self._sums_micro[account] = 0
            self._file.write(f"{_OPENED} open {beancount_account(account)} {COMMODITY}\n")
        self._sums_micro[account] += amount_micro

    def _write_balances(self) -> None:
        """An assertion is about the beginning of its day. `~ 0` allows no difference."""
        day = self._last + timedelta(days=1)
        self._file.write("\n")
        for account, total in sorted(self._sums_micro.items()):
            name = beancount_account(account)
            self._file.write(f"{day} balance {name}  {amount_text(total)} ~ 0 {COMMODITY}\n")


def _day(time: datetime) -> date:
    return time.astimezone(UTC).date()


def quoted(text: str) -> str:
    """For a quoted string. A reason that a person gave may hold control characters."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return shown.replace("\\", "\\\\").replace('"', '\\"')
