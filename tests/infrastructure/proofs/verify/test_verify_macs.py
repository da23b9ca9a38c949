"""What somebody with the service's own credentials has put into the database is named."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from eventsourcing.persistence import StoredEvent

from application.ledger.snapshots import fold, take_snapshot
from application.ledger.streams import ACCOUNT, ALL_KINDS, USER, StreamKind
from domain.accounts.state import AccountState
from domain.credits import MICRO_PER_CREDIT
from domain.events import Event, header
from domain.users.events import RoleAssigned, UserRole
from domain.users.state import UserState
from tests.infrastructure.proofs.verify.books import Books
from tests.support.forging import Forger, bare, made, with_state
from tests.support.keys import LEDGER_KEYS

NOW = datetime(2026, 11, 28, tzinfo=UTC)
SNAPSHOTS = "ledger_snapshots"


def streams_of(books: Books, kind: StreamKind[Any]) -> list[list[Event]]:
    streams: dict[UUID, list[Event]] = {}
    for _, event in books.log.events:
        if isinstance(event, kind.event_types):
            streams.setdefault(UUID(str(event.originator_id)), []).append(event)
    return list(streams.values())


def state_of(books: Books, kind: StreamKind[Any]) -> Any:
    """The state of the longest stream."""
    longest: list[Event] = max(streams_of(books, kind), key=len)
    return fold(kind, None, longest)


def a_role(user: UserState, version: int) -> RoleAssigned:
    return RoleAssigned(**header(user.id, version, NOW), role=UserRole.ADMIN, assigned_by=None)


async def test_the_first_event_that_the_ledger_did_not_write_is_named(books: Books) -> None:
    user: UserState = state_of(books, USER)
    account: AccountState = state_of(books, ACCOUNT)
    forger = Forger(books.urls)
    (*_, last) = forger.stored(account.id)
    again = StoredEvent(account.id, account.version + 1, last.topic, last.state)
    first = forger.insert(again)
    second = forger.insert(made(a_role(user, user.version + 1)))
    await books.project()

    found = await books.differences()

    assert [d.text for d in found["MACs"]] == [
        f"the event at position {first}, version {account.version + 1} of stream {account.id}, was"
        " not written by this ledger: it carries a MAC that is not its own",
        f"the event at position {second}, version {user.version + 1} of stream {user.id}, was not"
        " written by this ledger: it carries a MAC that is not its own",
    ]
    # The chain has the forged events, but no read model does.
    assert found.keys() == {"MACs"}


async def test_what_is_behind_a_forged_event_is_looked_at_too(books: Books) -> None:
    user: UserState = state_of(books, USER)
    forger = Forger(books.urls)
    roles = [a_role(user, user.version + number) for number in (1, 2, 3)]
    head = forger.insert(made(roles[0]), made(roles[1], LEDGER_KEYS), made(roles[2]))

    found = await books.differences()

    assert [d.position for d in found["MACs"]] == [head - 2, head]


async def test_a_version_that_is_missing_is_named(books: Books) -> None:
    user: UserState = state_of(books, USER)
    position = Forger(books.urls).insert(made(a_role(user, user.version + 2), LEDGER_KEYS))

    found = await books.differences()

    (difference,) = found["other streams"]
    assert difference.position == position
    assert f"version {user.version + 1}" in difference.text
    assert "is missing" in difference.text


async def test_every_snapshot_is_held_against_its_events(books: Books) -> None:
    account: AccountState = state_of(books, ACCOUNT)
    user: UserState = state_of(books, USER)
    (bucket, *others) = account.buckets
    rich = replace(
        account, buckets=(replace(bucket, free_micro=10**12 * MICRO_PER_CREDIT), *others)
    )
    admin = replace(user, role=UserRole.ADMIN, password_hash="$2b$04$mine")
    Forger(books.urls).insert(
        made(take_snapshot(ACCOUNT, rich, NOW)),
        # A snapshot with a right MAC too: somebody had the keys, or the service made a mistake.
        made(take_snapshot(USER, admin, NOW), LEDGER_KEYS),
        made(take_snapshot(USER, replace(user, version=user.version + 1), NOW)),
        table=SNAPSHOTS,
    )

    found = await books.differences()

    assert {d.text for d in found["snapshots"]} == {
        f"the snapshot of version {account.version} of stream {account.id} is not what its events"
        " lead to, in buckets; it carries a MAC that is not its own, so it is not used",
        f"the snapshot of version {user.version} of stream {user.id} is not what its events lead"
        " to, in password_hash, role",
        f"the snapshot of version {user.version + 1} of stream {user.id} belongs to no event",
    }
    assert found.keys() == {"snapshots"}


async def test_right_snapshots_agree_and_those_of_earlier_versions_are_noted(books: Books) -> None:
    right = [
        made(take_snapshot(kind, fold(kind, None, stream), NOW), LEDGER_KEYS)
        for kind in ALL_KINDS
        for stream in streams_of(books, kind)
    ]
    (*_, last) = right
    Forger(books.urls).insert(*right[:-1], with_state(last, bare(last)), table=SNAPSHOTS)

    (part,) = [part for part in await books.verify() if part.name == "snapshots"]

    assert (part.checked, part.findings.count) == (len(right), 0)
    (note,) = part.notes
    assert note.startswith("1 agree with their events and are not used")


async def test_what_is_no_snapshot_is_named(books: Books) -> None:
    account: AccountState = state_of(books, ACCOUNT)
    forger = Forger(books.urls)
    (first, second, *_) = forger.stored(account.id)
    forger.insert(
        with_state(first, b"no json"),
        StoredEvent(account.id, second.originator_version, "snapshot", b'{"mac":"test.x"}'),
        table=SNAPSHOTS,
    )

    found = await books.differences()

    assert ["cannot be read" in d.text for d in found["snapshots"]] == [True, True]
