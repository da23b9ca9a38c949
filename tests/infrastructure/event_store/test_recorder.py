import concurrent.futures
from datetime import UTC, datetime
from uuid import UUID, uuid5

import psycopg
import pytest
from eventsourcing.persistence import IntegrityError

from application.ledger.event_store import LedgerApplication
from domain.accounts.events import AccountOpened
from domain.events import header
from domain.identifiers import NAMESPACE
from infrastructure.event_store.recorder import LedgerRecorder, open_application
from tests.projections.log import Log
from tests.projections.random_history import RandomHistory
from tests.support.keys import LEDGER_KEYS
from tests.support.servers import DatabaseUrls

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def opened(stream_id: UUID, version: int = 1) -> AccountOpened:
    return AccountOpened(**header(stream_id, version, NOW), user_id=stream_id)


def an_id(name: str) -> UUID:
    return uuid5(NAMESPACE, f"recorder:{name}")


def recorder_of(application: LedgerApplication) -> LedgerRecorder:
    assert isinstance(application.recorder, LedgerRecorder)
    return application.recorder


def open_ledger(urls: DatabaseUrls) -> LedgerApplication:
    return open_application(
        urls.service, LEDGER_KEYS, threads=4, connect_timeout_s=5, cached_streams_max=10
    )


def test_what_was_written_is_read_back_as_the_same_events(
    event_log: Log, database: DatabaseUrls
) -> None:
    event_log.append(RandomHistory(21).commits(60))
    application = open_ledger(database)
    try:
        for _, event in event_log.events:
            stored = application.events.get(
                event.originator_id,
                gt=event.originator_version - 1,
                lte=event.originator_version,
            )
            assert list(stored) == [event]
    finally:
        application.close()


def test_a_position_is_found_by_stream_and_version(event_log: Log, database: DatabaseUrls) -> None:
    event_log.append(RandomHistory(22).commits(10))
    application = open_ledger(database)
    try:
        for position, event in event_log.events:
            found = recorder_of(application).position_of(
                event.originator_id, event.originator_version
            )
            assert found == position
        assert recorder_of(application).position_of(an_id("nobody"), 1) is None
    finally:
        application.close()


def test_a_version_is_written_once_and_its_whole_commit_with_it(
    event_log: Log, database: DatabaseUrls
) -> None:
    application = open_ledger(database)
    try:
        application.save(opened(an_id("taken")))
        with pytest.raises(IntegrityError):
            application.save(opened(an_id("fresh")), opened(an_id("taken")))
        assert recorder_of(application).position_of(an_id("fresh"), 1) is None
    finally:
        application.close()


def test_positions_become_visible_in_their_order(event_log: Log, database: DatabaseUrls) -> None:
    """A reader that tails the log while four writers commit sees every position it passes."""
    application = open_ledger(database)
    seen: list[int] = []
    try:
        with (
            concurrent.futures.ThreadPoolExecutor(4) as writers,
            psycopg.connect(database.service, autocommit=True) as reader,
        ):
            writes = [
                writers.submit(
                    application.save,
                    opened(an_id(f"{number}a")),
                    opened(an_id(f"{number}b")),
                )
                for number in range(200)
            ]
            done = False
            while not done:
                done = all(write.done() for write in writes)
                rows = reader.execute(
                    "SELECT notification_id FROM ledger.ledger_events"
                    " WHERE notification_id > %s ORDER BY 1",
                    (seen[-1] if seen else 0,),
                ).fetchall()
                seen += [position for (position,) in rows]
            for write in writes:
                write.result()
            stored = reader.execute(
                "SELECT notification_id FROM ledger.ledger_events ORDER BY 1"
            ).fetchall()
    finally:
        application.close()
    assert seen == [position for (position,) in stored]
    assert len(seen) == 400
