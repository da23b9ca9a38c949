"""Many commits in one transaction, and each of them by itself."""

import asyncio
from dataclasses import replace

import psycopg
import pytest
from eventsourcing.persistence import DataError, IntegrityError, StoredEvent

from application.ledger.commits import Commit, LedgerBusy, PredecessorFailed
from infrastructure.event_store.commit_waiting import CommitLimits
from tests.infrastructure.event_store.commit_store import (
    Store,
    commit,
    event,
    rows,
    stream,
    transactions,
)
from tests.support.servers import DatabaseUrls


async def test_what_waits_together_is_stored_together_in_the_order_it_came(
    store: Store, migrated: DatabaseUrls
) -> None:
    before = transactions(migrated)
    commits = [commit(event(f"a{n}"), event(f"b{n}")) for n in range(50)]

    assert await store.store(*commits) == [None] * 50

    stored = rows(migrated)[1:]
    assert [row[1] for row in stored] == [e.originator_id for c in commits for e in c.events]
    positions = [position for c in commits for position in c.positions or ()]
    assert positions == [row[0] for row in stored]
    assert transactions(migrated) - before <= 2


async def test_only_who_meets_another_writer_fails(store: Store, migrated: DatabaseUrls) -> None:
    store.application.recorder.insert_events([event("n3"), event("n7", 1), event("n7", 2)])
    commits = [commit(event(f"n{n}"), event(f"m{n}")) for n in range(10)]

    errors = await store.store(*commits)

    assert [n for n, error in enumerate(errors) if error is not None] == [3, 7]
    assert all(isinstance(errors[n], IntegrityError) for n in (3, 7))
    stored = {row[1] for row in rows(migrated)}
    assert {stream(f"m{n}") for n in range(10)} & stored == {
        stream(f"m{n}") for n in range(10) if n not in (3, 7)
    }


async def test_of_two_that_want_the_same_version_the_first_gets_it(
    store: Store, migrated: DatabaseUrls
) -> None:
    first, second = commit(event("same", topic="first")), commit(event("same", topic="second"))
    beside = commit(event("beside"))

    errors = await store.store(first, second, beside)

    assert errors[0] is None
    assert isinstance(errors[1], IntegrityError)
    assert errors[2] is None
    assert [row[3] for row in rows(migrated) if row[1] == stream("same")] == ["first"]


async def test_a_commit_that_contradicts_itself_fails_alone(store: Store) -> None:
    errors = await store.store(
        commit(event("before")), commit(event("twice"), event("twice")), commit(event("after"))
    )

    assert errors[0] is errors[2] is None
    assert isinstance(errors[1], IntegrityError)


async def test_what_builds_on_a_commit_that_failed_is_not_stored(
    store: Store, migrated: DatabaseUrls
) -> None:
    """Also where its own rows are free, and however far it is away."""
    store.application.recorder.insert_events([event("busy", 1)])
    head = commit(event("busy", 1))
    middle = commit(event("busy", 2), after=(head,))
    end = commit(event("elsewhere"), after=(middle,))
    beside = commit(event("beside"))

    errors = await store.store(head, middle, end, beside)

    assert isinstance(errors[0], IntegrityError)
    assert isinstance(errors[1], PredecessorFailed)
    assert isinstance(errors[2], PredecessorFailed)
    assert errors[3] is None
    assert stream("elsewhere") not in {row[1] for row in rows(migrated)}


async def test_what_builds_on_a_commit_that_is_stored_is_stored_with_it(store: Store) -> None:
    line = [commit(event("busy"))]
    for version in range(2, 40):
        line.append(commit(event("busy", version), after=(line[-1],)))

    assert await store.store(*line) == [None] * 39


async def test_a_commit_whose_reads_are_outdated_is_not_stored(
    store: Store, migrated: DatabaseUrls
) -> None:
    store.application.recorder.insert_events([event("read", 1), event("read", 2)])
    outdated = Commit([event("x")], reads=[(stream("read"), 2)])
    current = Commit([event("y")], reads=[(stream("read"), 3), (stream("nothing"), 1)])

    errors = await store.store(outdated, current)

    assert isinstance(errors[0], IntegrityError)
    assert errors[1] is None
    assert {stream("x"), stream("y")} & {row[1] for row in rows(migrated)} == {stream("y")}


@pytest.mark.parametrize("poisoned", [0, 17, 31])
async def test_what_the_database_cannot_take_fails_alone(store: Store, poisoned: int) -> None:
    """A zero byte is text to us and not to PostgreSQL."""
    commits = [commit(event(f"n{n}")) for n in range(32)]
    commits[poisoned] = commit(event("poison", topic="a\x00b"))

    errors = await store.store(*commits)

    assert [n for n, error in enumerate(errors) if error is not None] == [poisoned]
    assert isinstance(errors[poisoned], DataError)
    assert "SQLSTATE 22021" in str(errors[poisoned])


async def test_what_builds_on_a_poisoned_commit_is_not_stored(store: Store) -> None:
    poison = commit(event("poison", topic="\x00"))
    commits = [commit(event(f"n{n}")) for n in range(9)]
    follower = commit(event("poison", 2), after=(poison,))

    errors = await store.store(*commits[:4], poison, *commits[4:], follower)

    assert isinstance(errors[4], DataError)
    assert isinstance(errors[-1], PredecessorFailed)
    assert errors[:4] + errors[5:-1] == [None] * 9


@pytest.mark.parametrize(
    "bad",
    [
        replace(event("bad"), topic="\ud800"),
        replace(event("bad"), originator_version=2**63),
        replace(event("bad"), originator_id="no id"),
    ],
    ids=["topic", "version", "id"],
)
async def test_what_cannot_be_sent_is_refused_at_once(store: Store, bad: StoredEvent) -> None:
    with pytest.raises(DataError, match="cannot be stored"):
        store.submit(commit(bad))

    assert await store.store(commit(event("good"))) == [None]


async def test_more_than_may_wait_is_refused(migrated: DatabaseUrls) -> None:
    store = Store(migrated.service, CommitLimits(waiting_max=5))
    commits = [commit(event(f"n{n}")) for n in range(5)]
    for one in commits:
        store.submit(one)

    with pytest.raises(LedgerBusy):
        store.submit(commit(event("one more")))

    assert [await one.wait_stored() for one in commits] == [True] * 5
    assert await store.store(commit(event("one more"))) == [None]
    store.close()


async def test_a_batch_is_bounded_by_commits_and_by_bytes(migrated: DatabaseUrls) -> None:
    limits = CommitLimits(batch_commits_max=4, batch_bytes_max=1000)
    store = Store(migrated.service, limits)

    few = [commit(event(f"n{n}")) for n in range(10)]
    large = [commit(event(f"m{n}", state=b"x" * 600)) for n in range(3)]
    huge = commit(event("huge", state=b"x" * 5000))
    errors = await store.store(*few, *large, huge)

    store.close()
    assert errors == [None] * 14
    with psycopg.connect(migrated.service) as connection:
        sizes = connection.execute(
            "SELECT count(*), sum(length(state)) FROM ledger.ledger_events"
            " GROUP BY xmin::text ORDER BY min(notification_id)"
        ).fetchall()
    assert sizes == [(4, 8), (4, 8), (3, 604), (1, 600), (1, 600), (1, 5000)]


async def test_a_caller_that_goes_away_leaves_its_commit_on_its_way(
    store: Store, migrated: DatabaseUrls
) -> None:
    one = commit(event("left"))
    store.submit(one)
    waiters = [asyncio.create_task(one.wait_stored()) for _ in range(3)]
    await asyncio.sleep(0)
    waiters[0].cancel()

    assert await waiters[1]
    assert await waiters[2]
    assert waiters[0].cancelled()
    assert stream("left") in {row[1] for row in rows(migrated)}


async def test_one_notification_tells_of_a_whole_batch(
    store: Store, migrated: DatabaseUrls
) -> None:
    async with await psycopg.AsyncConnection.connect(
        migrated.service, autocommit=True
    ) as connection:
        await connection.execute("LISTEN ledger_events")
        await store.store(*(commit(event(f"n{n}")) for n in range(30)))
        heard = [notify async for notify in connection.notifies(timeout=1)]

    assert 1 <= len(heard) <= 2


async def test_a_commit_is_on_disk_whatever_the_roles_own_defaults_say(
    store: Store, migrated: DatabaseUrls
) -> None:
    """A role may alter its own defaults, and with it the sessions of the service."""
    with psycopg.connect(migrated.service, autocommit=True) as connection:
        connection.execute("ALTER ROLE CURRENT_USER SET synchronous_commit = off")
        try:
            session = await store.recorder._open_session()
            (told,) = await session._connection.ask(
                lambda pgconn: pgconn.send_query_params(b"SHOW synchronous_commit", None)
            )
            session.close()
        finally:
            connection.execute("ALTER ROLE CURRENT_USER RESET synchronous_commit")

    assert told.get_value(0, 0) == b"on"
