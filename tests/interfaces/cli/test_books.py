"""The books at the command line: a real user's life, as a finance person asks for it."""

import io
import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from domain.accounts.events import AccountEvent
from domain.events import Event
from infrastructure.embedded.servers import EmbeddedServers
from interfaces.cli.audit.books import books
from interfaces.cli.main import parser
from tests.interfaces.cli.command import Finished, chatledger
from tests.projections.log import open_log
from tests.projections.random_history import RandomHistory
from tests.support.keys import key_file
from tests.support.servers import DatabaseUrls, drop_database, fresh_database, fresh_name


class Operator:
    def __init__(self, urls: DatabaseUrls, nats_url: str, folder: Path) -> None:
        self._urls = urls
        self._nats_url = nats_url
        self.folder = folder
        self._keys = key_file(folder / "keys.json")
        self.log: list[tuple[int, Event]] = []

    def run(self, *arguments: str, stdin: str = "") -> Finished:
        return chatledger(
            *arguments,
            folder=self.folder,
            stdin=stdin,
            DATABASE_URL=self._urls.service,
            MIGRATION_DATABASE_URL=self._urls.owner,
            NATS_URL=self._nats_url,
            LEDGER_KEYS=self._keys,
        )

    def audit(self, *arguments: str) -> str:
        """What it prints; in this process, as starting one takes a second."""
        printed = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
            # Neither the settings nor the data of a service that somebody runs here.
            patch.chdir(self.folder)
            patch.setenv("ENVIRONMENT", "test")
            patch.setenv("DATABASE_URL", self._urls.service)
            patch.setenv("NATS_URL", self._nats_url)
            patch.setenv("LEDGER_KEYS", self._keys)
            assert books(parser().parse_args(["audit", *arguments])) == 0
        return printed.getvalue()


@pytest.fixture(scope="module")
def operator(
    embedded_servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    """On a log of several users, and of one that was registered at the command line."""
    name = fresh_name("books")
    urls = fresh_database(embedded_servers, name)
    operator = Operator(urls, embedded_servers.nats_url, tmp_path_factory.mktemp("books"))
    with open_log(urls) as log:
        log.append(RandomHistory(51).commits(200))
        operator.log = log.events
    made = operator.run(
        "users", "create-admin", "ada", "ada@example.com", stdin="a good passphrase\n"
    )
    assert made.status == 0, made.errors
    yield operator
    drop_database(embedded_servers, name)


def test_the_trial_balance_is_zero_by_class_and_by_account(operator: Operator) -> None:
    by_class = operator.audit("trial-balance")
    by_account = operator.audit("trial-balance", "--accounts")

    assert "The trial balance is zero." in by_class
    classes = {line.split()[0] for line in by_class.splitlines() if "." in line}
    assert {"users:available", "users:held", "issuance:paid", "revenue:usage", "Total"} <= classes
    totals = [line.split()[2:] for line in by_class.splitlines() if line.startswith("Total")]
    assert totals[0][0] == totals[0][1]
    assert totals[0][2] == "0.000000"
    assert [line.split()[1:] for line in by_account.splitlines() if line.startswith("Total")] == [
        [line.split()[1], *totals[0]] for line in by_class.splitlines() if line.startswith("Total")
    ]
    widths = {len(line) for line in by_class.splitlines()[:4]}
    assert len(widths) == 1, "columns stand below each other"


def test_the_trial_balance_of_the_past_is_that_of_a_position_or_a_time(operator: Operator) -> None:
    position, event = operator.log[len(operator.log) // 2]
    at_position = json.loads(
        operator.audit("trial-balance", "--at-position", str(position), "--json")
    )
    at_time = json.loads(
        operator.audit("trial-balance", "--at", event.timestamp.isoformat(), "--json")
    )
    now = json.loads(operator.audit("trial-balance", "--json"))

    assert at_position["difference_micro"] == at_time["difference_micro"] == 0
    assert 0 < at_position["position"] <= position < now["position"]
    # Commits of this history have times of their own, so a commit's time is its last position.
    assert (
        at_time["lines"]
        == json.loads(
            operator.audit("trial-balance", "--json", "--at-position", str(at_time["position"]))
        )["lines"]
    )
    assert at_time["events"] < now["events"]


@pytest.mark.parametrize("name", ["ada", "ADA", "ada@example.com"])
def test_a_user_is_found_by_name_address_or_id(operator: Operator, name: str) -> None:
    by_name = json.loads(operator.audit("balance", name, "--json"))
    by_id = json.loads(operator.audit("balance", by_name["user_id"], "--json"))

    assert by_name == by_id
    assert by_name["username"] == "ada"
    assert by_name["available_micro"] == 100_000_000


def test_the_balance_of_a_time_is_the_closing_balance_of_a_statement_up_to_it(
    operator: Operator,
) -> None:
    accounts = [event for _, event in operator.log if isinstance(event, AccountEvent)]
    event = accounts[len(accounts) // 2]
    user = str(event.user_id)
    day = event.timestamp.date().isoformat()

    balance = json.loads(operator.audit("balance", user, "--at", day, "--json"))
    told = json.loads(operator.audit("statement", user, "--to", day, "--json"))
    later = json.loads(operator.audit("statement", user, "--from", balance["before"], "--json"))

    closing = {key: balance[key] for key in ("available_micro", "held_micro")}
    assert told["closing"] == later["opening"] == closing
    assert told["lines"]


def test_a_statement_reads_as_one(operator: Operator) -> None:
    text = operator.audit("statement", "ada")

    lines = text.splitlines()
    assert lines[0].startswith("Statement of ada, user ")
    assert lines[3].split()[:4] == ["Time", "(UTC)", "Position", "From"]
    assert "Opening balance" in lines[5]
    assert "issuance:promotional" in lines[6]
    assert "100.000000" in lines[6]
    assert "Credits granted: welcome" in lines[6]
    assert lines[7].startswith("Closing balance")
    assert "in all 100.000000" in lines[7]
    plain = operator.audit("balance", "ada").splitlines()
    assert [line.split() for line in plain[1:]] == [
        ["Available", "100.000000"],
        ["Held", "0.000000"],
        ["Total", "100.000000"],
    ]


def test_an_export_says_what_it_holds(operator: Operator) -> None:
    path = operator.folder / "log.jsonl"
    said = operator.run("audit", "export", "--format", "jsonl", "--out", str(path), "--json")

    assert (said.status, said.errors) == (0, "")
    told = json.loads(said.output)
    assert told["rows"] == len(path.read_text(encoding="utf-8").splitlines())
    again = operator.run("audit", "export", "--format", "csv", "--out", str(path))
    assert "there already" in again.refusal()


def test_what_is_no_user_is_said(operator: Operator) -> None:
    assert "no user 'nobody'" in operator.run("audit", "statement", "nobody").refusal()
    account = next(e.originator_id for _, e in operator.log if isinstance(e, AccountEvent))
    assert "no user" in operator.run("audit", "balance", str(account)).refusal()
