"""A log from before events had MACs is sealed once, and its events are then accepted."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from eventsourcing.persistence import StoredEvent

from application.ledger.event_macs import EventNotAuthentic, StateMacs, event_macs
from application.ledger.ledger import LedgerApplication
from application.ledger.snapshots import fold
from application.ledger.streams import ALL_KINDS, USER, StreamKind
from domain.events import Event, header
from domain.users.events import RoleAssigned, UserRole
from infrastructure.event_store.recorder import open_application
from infrastructure.log.seals import seal
from infrastructure.log.state import (
    LogUnsealed,
    OtherKeys,
    check_first_event,
    read_log_state,
)
from tests.history.old_logs import load_log, read_log
from tests.support.forging import OTHER_KEYS, Forger, bare, made, with_state
from tests.support.keys import EVENT_MACS, LEDGER_KEYS
from tests.support.servers import DatabaseUrls

KINDS = {each.TOPIC: kind for kind in ALL_KINDS for each in kind.event_types}
NOW = datetime(2026, 11, 28, tzinfo=UTC)


@pytest.fixture
def old(database: DatabaseUrls) -> DatabaseUrls:
    load_log(database, read_log("v1"))
    return database


@contextmanager
def opened(urls: DatabaseUrls) -> Iterator[LedgerApplication]:
    application = open_application(
        urls.service, LEDGER_KEYS, threads=2, connect_timeout_s=5, cached_streams_max=10
    )
    try:
        yield application
    finally:
        application.close()


def sealed(urls: DatabaseUrls, macs: StateMacs = EVENT_MACS) -> int:
    return seal(urls.owner, macs, lambda _done: None)


def streams() -> dict[UUID, list[Event]]:
    found: dict[UUID, list[Event]] = {}
    for line in read_log("v1"):
        found.setdefault(line.stream_id, []).append(line.decode())
    return found


def a_user() -> tuple[UUID, int]:
    """A user's id and the version of the stream's last event."""
    return next(
        (stream_id, len(events))
        for stream_id, events in streams().items()
        if isinstance(events[0], USER.event_types)
    )


def test_before_it_is_sealed_none_of_its_events_is_accepted(old: DatabaseUrls) -> None:
    stream_id, _ = a_user()
    with psycopg.connect(old.service) as connection:
        with pytest.raises(LogUnsealed, match="run `chatledger audit seal` once"):
            read_log_state(connection).check()
        with pytest.raises(OtherKeys):
            check_first_event(connection, EVENT_MACS)
    with opened(old) as application, pytest.raises(EventNotAuthentic, match="carries no MAC"):
        application.load(USER, stream_id)


def test_every_stream_loads_as_it_did_and_goes_on(old: DatabaseUrls) -> None:
    assert sealed(old) == len(read_log("v1"))

    with psycopg.connect(old.service) as connection:
        read_log_state(connection).check()
        check_first_event(connection, EVENT_MACS)
    with opened(old) as application:
        for stream_id, events in streams().items():
            kind: StreamKind[Any] = KINDS[events[0].TOPIC]
            assert application.load(kind, stream_id) == fold(kind, None, events)
        stream_id, version = a_user()
        application.save(
            RoleAssigned(
                **header(stream_id, version + 1, NOW), role=UserRole.ADMIN, assigned_by=None
            )
        )
        user = application.load(USER, stream_id)
        assert user is not None
        assert user.role is UserRole.ADMIN


def test_it_is_sealed_once_and_only_what_was_there_before_the_migration(old: DatabaseUrls) -> None:
    stream_id, version = a_user()
    role = RoleAssigned(
        **header(stream_id, version + 1, NOW), role=UserRole.ADMIN, assigned_by=None
    )
    forged = made(role)
    Forger(old).insert(with_state(forged, bare(forged)))

    assert sealed(old) == len(read_log("v1"))
    assert sealed(old) == 0

    with opened(old) as application, pytest.raises(EventNotAuthentic):
        application.load(USER, stream_id)


def test_other_keys_than_the_log_s_are_noticed_at_once(old: DatabaseUrls) -> None:
    assert sealed(old, event_macs(OTHER_KEYS)) == len(read_log("v1"))
    with psycopg.connect(old.service) as connection, pytest.raises(OtherKeys, match="not that of"):
        check_first_event(connection, EVENT_MACS)


def test_the_service_cannot_write_seals_and_a_borrowed_one_proves_nothing(
    old: DatabaseUrls,
) -> None:
    assert sealed(old)
    stream_id, version = a_user()
    insert = (
        "INSERT INTO ledger.seals (originator_id, originator_version, mac)"
        " SELECT originator_id, %s, mac FROM ledger.seals"
        " WHERE (originator_id, originator_version) = (%s, %s)"
    )
    (*_, last) = Forger(old).stored(stream_id)
    Forger(old).insert(StoredEvent(stream_id, version + 1, last.topic, last.state))
    with (
        psycopg.connect(old.service) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(insert, (version + 1, stream_id, version))
    with psycopg.connect(old.owner, autocommit=True) as connection:
        connection.execute(insert, (version + 1, stream_id, version))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM ledger.seals")
    with opened(old) as application, pytest.raises(EventNotAuthentic, match="not its own"):
        application.load(USER, stream_id)
