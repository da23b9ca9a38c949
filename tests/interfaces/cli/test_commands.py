"""The operator's commands, on embedded servers of their own."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from domain.errors import WeakPassword
from domain.users.events import PasswordChanged
from interfaces.cli.users import password_line
from tests.interfaces.cli.command import Finished, chatledger
from tests.support.books import stored_events
from tests.support.models import PREPARED_MODELS
from tests.support.servers import DatabaseUrls


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="chatledger-cli-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_the_catalogue_shows_what_is_prepared_and_what_it_costs(
    folder: Path, prepared_models: Path
) -> None:
    finished = chatledger(
        *("models", "list"),
        folder=folder,
        MODELS_DIR=str(PREPARED_MODELS),
        GEMMA3_1B_COST="0.4/1.2",
    )

    lines = finished.output.splitlines()
    assert (finished.status, finished.errors) == (0, "")
    in_columns = [line.split(maxsplit=2) for line in lines]
    assert [columns[:2] for columns in in_columns] == [
        ["gemma3-270m", "prepared"],
        ["gemma3-1b", "not_prepared"],
        ["gemma3-4b", "not_prepared"],
        ["gemma3-12b", "not_prepared"],
    ]
    assert [columns[2].partition("  ")[0] for columns in in_columns] == [
        "2 credits a message",
        "0.4 credits in, 1.2 out per 1,000 tokens",
        "25 credits a message",
        "50 credits a message",
    ]


def test_an_administrator_is_made_with_a_password_from_standard_input(
    folder: Path, database: DatabaseUrls, nats_url: str
) -> None:
    def run(*arguments: str, password: str) -> Finished:
        return chatledger(
            *("users", *arguments),
            folder=folder,
            stdin=f"{password}\n",
            DATABASE_URL=database.service,
            MIGRATION_DATABASE_URL=database.owner,
            NATS_URL=nats_url,
        )

    made = run("create-admin", "root-user", "root@example.com", password="first password")
    assert (made.status, made.output, made.errors) == (0, "root-user is an administrator\n", "")
    weak = run("create-admin", "other", "other@example.com", password="short")
    assert "at least 8 characters" in weak.refusal()
    twice = run("create-admin", "root-user", "b@example.com", password="first password")
    assert "taken" in twice.refusal()
    changed = run("set-password", "root-user", password="\ufeffsecond password\r")
    assert (changed.status, changed.output) == (0, "root-user has a new password\n")
    nobody = run("set-password", "nobody", password="second password")
    assert "there is no user 'nobody'" in nobody.refusal()

    guessable = run("set-password", "root-user", password="Password1!")
    assert "several words" in guessable.refusal()
    inside = run("set-password", "root-user", password="second\tpassword")
    assert "control character U+0009" in inside.refusal()

    events = stored_events(database.service)
    assert [event.TOPIC for event in events if event.TOPIC.startswith("user.")] == [
        "user.registered",
        "user.role_assigned",
        "user.password_changed",
    ]
    set_last = [event for event in events if isinstance(event, PasswordChanged)][-1]
    assert bcrypt.checkpw(b"second password", set_last.password_hash.encode())
    assert "password" not in repr(events).replace("password_hash", "").replace(
        "PasswordChanged", ""
    )


def test_a_fresh_folder_has_projections_that_hold_nothing(folder: Path) -> None:
    finished = chatledger("projections", "status", folder=folder)

    assert (finished.status, finished.errors) == (0, "")
    assert [line.split()[1] for line in finished.output.splitlines()] == ["0"] * 8


def test_projections_are_rebuilt_from_the_log(folder: Path) -> None:
    finished = chatledger("projections", "rebuild", "all", folder=folder)

    assert finished.status == 0, finished.errors
    assert "rebuilt from the log" in finished.output + finished.errors


@pytest.mark.parametrize(
    "line",
    [
        b"second password",
        b"second password\n",
        b"second password\r\n",
        b"second password\r",
        b"\xef\xbb\xbfsecond password\r\n",
        b"second password\nand another line\n",
    ],
)
def test_a_password_is_read_without_what_systems_put_around_a_line(line: bytes) -> None:
    # As from a pipe: one line, its end with it.
    assert password_line(line.splitlines(keepends=True)[0]) == "second password"


@pytest.mark.parametrize(
    "line", ["second password\r\n".encode("utf-16"), b"caf\xe9 au lait, merci\n"]
)
def test_a_password_in_another_encoding_is_refused_and_not_guessed_at(line: bytes) -> None:
    with pytest.raises(WeakPassword, match="UTF-8"):
        password_line(line)


def test_what_is_left_in_a_line_is_part_of_the_password() -> None:
    assert password_line(b" two  blanks \r\r\n") == " two  blanks \r"
