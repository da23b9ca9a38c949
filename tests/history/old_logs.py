"""Event logs in their old stored forms, kept for ever, with the books and rows they must give.

`python -m tests.history.old_logs NAME` freezes one of the present code's forms, as
tests/fixtures/event_logs/NAME.jsonl and NAME.expected.json. It never replaces a file, because a log
that is written anew would not be old. Freeze one before the first event's `class_version` is raised
after the last freeze.
"""

import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import msgspec
import psycopg

from application.books.trial_balance import TrialBalance
from application.ledger.mapping import EventMapper, decode_event
from application.ledger.streams import ALL_KINDS
from domain.claims.idempotency import CommandStarted, IdempotencyKey, abandon, evolve
from domain.claims.uniqueness import claim
from domain.events import Event
from domain.identifiers import NAMESPACE, idempotency_claim_id, username_claim_id
from domain.sessions import commands as s
from domain.sessions.decider import decide as decide_session
from domain.sessions.state import SessionState
from domain.sessions.state import evolve as evolve_session
from domain.users import commands as u
from infrastructure.database.migrate import migrate
from tests.projections.naive_tables import NaiveTables
from tests.projections.people import Person
from tests.projections.random_history import RandomHistory
from tests.support.keys import LEDGER_KEYS
from tests.support.servers import DatabaseUrls

FOLDER = Path(__file__).parents[1] / "fixtures" / "event_logs"
_SEED = 2
_COMMITS = 170
_SCHEMA_BEFORE_MACS = 5


class StoredLine(msgspec.Struct, frozen=True):
    """One row of the log. `state` is byte for byte as it was stored."""

    position: int
    stream_id: UUID
    stream_version: int
    topic: str
    state: msgspec.Raw

    def decode(self) -> Event:
        event: Event = decode_event(
            topic=self.topic,
            originator_id=self.stream_id,
            originator_version=self.stream_version,
            state=bytes(self.state),
        )
        return event

    @property
    def class_version(self) -> int:
        version: int = msgspec.json.decode(self.state).get("class_version", 1)
        return version


class Expected(msgspec.Struct, frozen=True):
    """trial_balance: debit and credit of each account. rows: those of each table, as plain JSON."""

    trial_balance: dict[str, tuple[int, int]]
    rows: dict[str, list[dict[str, Any]]]


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.jsonl"))


def read_log(name: str) -> list[StoredLine]:
    lines = (FOLDER / f"{name}.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=StoredLine) for line in lines]


def load_log(
    urls: DatabaseUrls, lines: Sequence[StoredLine], *, brought_up_to_date: bool = True
) -> None:
    """Inserts the log byte for byte, under the schema that it was written in."""
    carries_macs = "mac" in msgspec.json.decode(lines[0].state)
    migrate(urls.owner, urls.service, up_to=None if carries_macs else _SCHEMA_BEFORE_MACS)
    with psycopg.connect(urls.owner) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO ledger.ledger_events (notification_id, originator_id, originator_version,"
            " topic, state) VALUES (%s, %s, %s, %s, %s)",
            [
                (line.position, line.stream_id, line.stream_version, line.topic, bytes(line.state))
                for line in lines
            ],
        )
        cursor.execute(
            "SELECT setval('ledger.ledger_events_notification_id_seq', %s)", (lines[-1].position,)
        )
    if brought_up_to_date:
        migrate(urls.owner, urls.service)


def read_expected(name: str) -> Expected:
    return msgspec.json.decode((FOLDER / f"{name}.expected.json").read_bytes(), type=Expected)


def comes_to(events: Sequence[tuple[int, Event]]) -> Expected:
    books = TrialBalance()
    for position, event in events:
        books.add(position, event)
    return Expected(
        trial_balance={line.name: (line.debit_micro, line.credit_micro) for line in books.accounts},
        rows=plain_rows(NaiveTables().fold(events).tables),
    )


def plain_rows(tables: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """The rows as plain JSON, without empty values, and in a fixed order."""
    return {
        table: sorted(
            (
                {name: value for name, value in sorted(row.items()) if value is not None}
                for row in msgspec.to_builtins(rows)
            ),
            key=repr,
        )
        for table, rows in tables.items()
    }


def a_life() -> Iterator[Event]:
    """Several users, with every kind of event."""
    history = RandomHistory(_SEED)
    for commit in history.commits(_COMMITS):
        yield from commit
    person = history.people[0]
    yield from person.for_user(history.now, u.ChangePassword(password_hash="$2b$04$another"))
    yield claim(username_claim_id("ada"), kind="username", owner_id=person.user_id, now=history.now)
    yield from _sessions(person, history)
    yield from _commands(person, history)


def _sessions(person: Person, history: RandomHistory) -> Iterator[Event]:
    # After the new password, which ends the sessions from before it.
    now, later = history.now + timedelta(seconds=1), history.now + timedelta(days=30)
    state: SessionState | None = None
    for command in (
        s.OpenSession(session_id=_id("session"), expires_at=later),
        s.RotateSession(generation=1, expires_at=later),
        s.RevokeSession(reason="logout"),
    ):
        for event in decide_session(command, state, person.user, now):
            state = evolve_session(state, event)
            yield event


def _commands(person: Person, history: RandomHistory) -> Iterator[Event]:
    now = history.now
    key = IdempotencyKey(claim_id=idempotency_claim_id(person.user_id, "k"), request_hash="ab" * 32)
    started = key.start(None, subject_id=_id("answer"), now=now)
    state = evolve(None, started)
    abandoned = abandon(state, reason="failed", now=now)
    state = evolve(state, abandoned)
    again: CommandStarted = key.start(state, subject_id=_id("second answer"), now=now)
    state = evolve(state, again)
    yield from (started, abandoned, again)
    yield key.complete(state, result='{"response":"Grüße"}', now=now)


def _id(name: str) -> UUID:
    return uuid5(NAMESPACE, f"history:{name}")


def freeze(name: str) -> None:
    path = FOLDER / f"{name}.jsonl"
    if path.exists():
        sys.exit(f"{path} is kept as it is; give another name")
    events = list(a_life())
    missing = {each.TOPIC for kind in ALL_KINDS for each in kind.event_types}
    missing -= {event.TOPIC for event in events}
    if missing:
        sys.exit(f"a_life() has no {', '.join(sorted(missing))}; add them to it")
    mapper = EventMapper(LEDGER_KEYS)
    lines = []
    # Positions have gaps, such as rolled-back commits leave.
    for index, event in enumerate(events, start=1):
        stored = mapper.to_stored_event(event)
        lines.append(
            StoredLine(
                position=index + index // 50,
                stream_id=UUID(str(stored.originator_id)),
                stream_version=stored.originator_version,
                topic=stored.topic,
                state=msgspec.Raw(stored.state),
            )
        )
    FOLDER.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.Encoder().encode_lines(lines))
    expected = comes_to([(line.position, line.decode()) for line in lines])
    body = msgspec.json.format(msgspec.json.encode(expected), indent=1)
    (FOLDER / f"{name}.expected.json").write_bytes(body + b"\n")


if __name__ == "__main__":
    freeze(sys.argv[1])
