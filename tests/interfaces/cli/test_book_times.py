"""Days, instants and positions at the command line have one form each; all else is refused."""

import json
from pathlib import Path

import pytest

from domain.accounts.events import AccountEvent, MoneyEvent
from infrastructure.process.clock_ids import SystemClock
from interfaces.cli.main import parser
from interfaces.cli.options import OptionsRefused
from interfaces.cli.refusals import explain
from tests.interfaces.cli.test_books import Operator, operator

__all__ = ["operator"]  # the fixture

# The same words, whatever they are given to.
FORMS = ("write a day such as 2026-03-01", "such as 2026-03-01T12:30:00Z")
NO_TIMES = [
    "20261127",
    "2026",
    "2026-W48-6",
    "2026-332",
    "2026-11-28T10:00:00",
    "2026-11-28 10:00Z",
]


@pytest.mark.parametrize("text", [*NO_TIMES, "yesterday", "", "2026-3-1", "-1", "1e3"])
@pytest.mark.parametrize(
    "command",
    [
        ("trial-balance", "--at"),
        ("balance", "ada", "--at"),
        ("statement", "ada", "--from"),
        ("statement", "ada", "--to"),
        ("export", "--format", "csv", "--out", "x.csv", "--from"),
        ("export", "--format", "csv", "--out", "x.csv", "--to"),
    ],
    ids=" ".join,
)
def test_what_is_neither_a_day_nor_an_instant_is_no_time(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...], text: str
) -> None:
    *before, option = command
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["audit", *before, f"{option}={text}"])

    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert all(form in said for form in FORMS), said
    if option == "--at" and text.isdigit():
        assert "--at-position" in said


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "²", "2026-03-01", "", "9" * 19, "1_000"])
@pytest.mark.parametrize("command", [("trial-balance",), ("balance", "ada")])
def test_what_is_no_whole_number_from_1_is_no_position(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...], text: str
) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["audit", *command, f"--at-position={text}"])

    assert "write a whole number from 1 on" in capsys.readouterr().err


def test_a_time_and_a_position_are_not_given_together(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["audit", "trial-balance", "--at", "2026-03-01", "--at-position", "1"])

    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("trial-balance", "--at", "2099-01-01"), "has not come yet"),
        (("balance", "ada", "--at", "2099-01-01T00:00:00Z"), "has not come yet"),
        (("statement", "ada", "--from", "2099-01-01"), "has not come yet"),
        (("statement", "ada", "--to", "2099-01-01"), "has not come yet"),
        (("trial-balance", "--at-position", "999999"), "the log ends at position"),
        (("balance", "ada", "--at-position", "999999"), "the log ends at position"),
        (
            ("statement", "ada", "--from", "2026-03-02", "--to", "2026-03-01"),
            "ends (--to 2026-03-01) before it begins (--from 2026-03-02)",
        ),
        (
            (
                "statement",
                "ada",
                "--from",
                "2026-03-01T00:00:00.000001Z",
                "--to",
                "2026-03-01T00:00:00Z",
            ),
            "before it begins",
        ),
        (
            (
                "export",
                "--format",
                "csv",
                "--out",
                "never.csv",
                "--from",
                "2026-03-02",
                "--to",
                "2026-03-01",
            ),
            "before it begins",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_the_log_cannot_tell_is_refused(
    operator: Operator, arguments: tuple[str, ...], said: str
) -> None:
    with pytest.raises(OptionsRefused) as refusal:
        operator.audit(*arguments)

    assert said in explain(refusal.value)
    assert not Path("never.csv").exists()


def test_today_is_not_over_yet(operator: Operator) -> None:
    today = SystemClock().now().date().isoformat()

    for option in ("--at", "--to"):
        command = "balance" if option == "--at" else "statement"
        with pytest.raises(OptionsRefused, match="is not over yet in UTC; leave"):
            operator.audit(command, "ada", option, today)
    assert "Closing balance" in operator.audit("statement", "ada", "--from", today)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--at", "2026-03-01"), ", 2026-03-01, all of it in UTC; in credits"),
        (("--at", "0001-01-01"), ", 0001-01-01, all of it in UTC; in credits"),
        # That instant counts, so it is not "before" it.
        (("--at", "2026-03-01T13:30:00+01:00"), ", at 2026-03-01T12:30:00+00:00; in credits"),
        (("--at-position", "3"), ", after position 3; in credits"),
        ((), ", now; in credits"),
    ],
)
def test_a_balance_says_of_which_moment_it_is(
    operator: Operator, arguments: tuple[str, ...], said: str
) -> None:
    heading = operator.audit("balance", "ada", *arguments).splitlines()[0]

    assert heading.endswith(said), heading


def test_a_day_is_the_same_as_both_of_its_ends(operator: Operator) -> None:
    def told(*period: str) -> object:
        user = str(next(e.user_id for _, e in operator.log if isinstance(e, AccountEvent)))
        statement = json.loads(operator.audit("statement", user, *period, "--json"))
        return {key: statement[key] for key in ("period", "opening", "lines", "closing")}

    day = ("--from", "2026-03-02", "--to", "2026-03-02")
    assert told(*day) == told("--from", "2026-03-02T00:00:00Z", "--to", "2026-03-03T00:00:00Z")
    assert told(*day) == told(
        "--from", "2026-03-02T01:00:00+01:00", "--to", "2026-03-02T23:00:00-01:00"
    )


def test_a_users_balance_after_a_position_is_the_one_in_that_event(operator: Operator) -> None:
    money = [(p, e) for p, e in operator.log if isinstance(e, MoneyEvent)]
    position, event = money[len(money) // 2]

    told = json.loads(
        operator.audit("balance", str(event.user_id), "--at-position", str(position), "--json")
    )

    assert told["available_micro"] == event.balance.available_micro
    assert told["held_micro"] == event.balance.held_micro
    text = operator.audit("balance", str(event.user_id), "--at-position", str(position))
    assert f"after position {position}" in text


def test_a_refused_time_is_one_sentence_and_an_exit_status(operator: Operator) -> None:
    refused = operator.run("audit", "trial-balance", "--at-position", "999999")
    assert "the log ends at position" in refused.refusal()
    unreadable = operator.run("audit", "trial-balance", "--at", "20261127")
    assert unreadable.status == 2
    assert "--at-position" in unreadable.errors
