"""Commits whose database goes away: nothing is lost, nothing is repeated, nobody waits for ever."""

import asyncio
from collections.abc import Iterator
from uuid import UUID

import psycopg
import pytest
from eventsourcing.persistence import IntegrityError, OperationalError

from application.ledger.commits import Commit, PredecessorFailed
from infrastructure.event_store.commit_connection import CommitConnection, ConnectionLost
from infrastructure.event_store.commit_queue import GroupCommitQueue
from infrastructure.event_store.commit_session import CommitSession
from infrastructure.event_store.commit_waiting import CommitLimits
from tests.infrastructure.event_store.commit_store import Store, commit, event, rows, stream
from tests.support.database_proxy import DatabaseProxy
from tests.support.servers import DatabaseUrls


@pytest.fixture
def proxy(migrated: DatabaseUrls) -> Iterator[DatabaseProxy]:
    with DatabaseProxy(migrated.service) as opened:
        yield opened


@pytest.mark.parametrize("others", [0, 20])
async def test_a_transaction_whose_answer_was_lost_is_found_and_not_repeated(
    store: Store, migrated: DatabaseUrls, proxy: DatabaseProxy, others: int
) -> None:
    distant = Store(proxy.url)
    await distant.store(commit(event("hello")))
    before = len(rows(migrated))
    store.application.recorder.insert_events([event("taken")])
    lost = [commit(event(f"n{n}"), event(f"n{n}", 2)) for n in range(others + 1)]
    conflict = commit(event("taken"))

    proxy.cut_at_next_commit()
    stored = asyncio.create_task(distant.store(*lost, conflict))
    await asyncio.to_thread(proxy.commit_lost.wait, 20)
    proxy.restore()
    errors = await stored
    distant.close()

    assert errors[:-1] == [None] * (others + 1)
    assert isinstance(errors[-1], IntegrityError)
    found = rows(migrated)
    assert len(found) == before + 1 + 2 * (others + 1)
    by_event = {(row[1], row[2]): row[0] for row in found}
    for one in lost:
        own = [by_event[stream_id, version] for stream_id, version in keys(one)]
        assert list(one.positions or ()) == own


def keys(one: Commit) -> list[tuple[UUID, int]]:
    return [(UUID(str(e.originator_id)), e.originator_version) for e in one.events]


async def test_what_was_sent_and_not_stored_is_sent_again(
    migrated: DatabaseUrls, proxy: DatabaseProxy
) -> None:
    distant = Store(proxy.url)
    await distant.store(commit(event("hello")))
    with psycopg.connect(migrated.service) as other:
        other.execute("LOCK TABLE ledger.ledger_events IN EXCLUSIVE MODE")
        waiting = commit(event("waiting"))
        distant.submit(waiting)
        await until_blocked(migrated)
        proxy.cut()
        proxy.restore()
        # The server process of the lost connection has not noticed, and is ended.
        await until_blocked(migrated)

    assert await waiting.wait_stored()
    distant.close()
    assert len(rows(migrated)) == 2


async def until_blocked(urls: DatabaseUrls) -> None:
    """Until somebody waits for the table."""
    async with await psycopg.AsyncConnection.connect(urls.service, autocommit=True) as connection:
        async with asyncio.timeout(20):
            while True:
                cursor = await connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
                row = await cursor.fetchone()
                if row is not None and row[0] == 1:
                    return


async def test_a_database_that_stays_away_is_said_to_be(
    migrated: DatabaseUrls, proxy: DatabaseProxy
) -> None:
    distant = Store(proxy.url, CommitLimits(unavailable_after_s=0.3))
    await distant.store(commit(event("hello")))
    proxy.cut()

    head = commit(event("head"))
    errors = await distant.store(head, commit(event("head", 2), after=(head,)))
    at_once = await distant.store(commit(event("later")))
    patient = commit(event("patient"))
    patient.deadline = asyncio.get_running_loop().time() + 30
    distant.submit(patient)
    proxy.restore()

    assert await patient.wait_stored()
    distant.close()
    assert isinstance(errors[0], OperationalError)
    assert isinstance(errors[1], (OperationalError, PredecessorFailed))
    assert isinstance(at_once[0], OperationalError)
    assert {row[1] for row in rows(migrated)} == {stream("hello"), stream("patient")}


async def test_a_server_that_does_not_answer_counts_as_lost(
    store: Store, migrated: DatabaseUrls
) -> None:
    hasty = Store(migrated.service, CommitLimits(result_timeout_s=1, unavailable_after_s=1))
    await hasty.store(commit(event("hello")))
    with psycopg.connect(migrated.service) as other:
        other.execute("LOCK TABLE ledger.ledger_events IN EXCLUSIVE MODE")
        errors = await hasty.store(commit(event("waiting")))

    assert isinstance(errors[0], OperationalError)
    assert await hasty.store(commit(event("after"))) == [None]
    hasty.close()


async def test_closing_answers_everybody(migrated: DatabaseUrls) -> None:
    store = Store(migrated.service)
    one = commit(event("one"))
    store.submit(one)
    store.close()

    assert not await one.wait_stored()
    assert isinstance(one.error, OperationalError)


async def test_a_defect_while_connecting_or_answering_lets_nobody_wait_for_ever(
    migrated: DatabaseUrls, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(migrated.service, CommitLimits(unavailable_after_s=0.3))
    with monkeypatch.context() as patched:
        patched.setattr(CommitSession, "open", raise_defect)
        errors = await store.store(commit(event("no connection")))
        assert isinstance(errors[0], OperationalError)
    assert await store.store(commit(event("connected"))) == [None]
    with monkeypatch.context() as patched:
        patched.setattr(GroupCommitQueue, "_confirm", raise_defect)
        errors = await store.store(commit(event("no answer")))
        assert isinstance(errors[0], OperationalError)
    assert await store.store(commit(event("after"))) == [None]
    store.close()
    assert {row[1] for row in rows(migrated)} == {
        *(stream(name) for name in ("connected", "no answer", "after")),
    }


def raise_defect(*_: object) -> object:
    raise RuntimeError("a defect")


async def test_a_connection_that_was_lost_between_two_exchanges_says_so(
    migrated: DatabaseUrls,
) -> None:
    connection = await CommitConnection.open(
        migrated.service, {}, setup="SELECT 1", connect_timeout_s=2, result_timeout_s=2
    )
    connection.close()
    with pytest.raises(ConnectionLost):
        await connection.ask(lambda pgconn: pgconn.send_query_params(b"SELECT 1", None))
