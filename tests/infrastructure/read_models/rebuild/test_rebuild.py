import asyncio
import random
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection

from infrastructure.log.reader import read_log
from infrastructure.read_models.rebuild.rebuild import (
    REBUILD_LOCK,
    ReadModelsBusy,
    RebuildInProgress,
    UnknownProjection,
    rebuild,
    shadow_locked,
)
from infrastructure.read_models.rebuild.shadow_tables import ReplayBounds
from infrastructure.read_models.writer import PositionsMoved, ProjectionWriter
from projections.registry import PROJECTIONS
from tests.infrastructure.read_models.rebuild.replaying import SMALL, SMALL_READ, Watched, project
from tests.projections.log import Log, comparable, stored_rows
from tests.projections.random_history import RandomHistory
from tests.support.keys import EVENT_MACS
from tests.support.servers import DatabaseUrls


@pytest.mark.parametrize("seed", [11, 12, 13])
async def test_rows_made_anew_equal_rows_made_one_event_at_a_time(
    seed: int, event_log: Log, database: DatabaseUrls
) -> None:
    event_log.append(RandomHistory(seed).commits(200))
    await project(database.service, events_max=1)
    before = comparable(stored_rows(database.service))
    watched = Watched()

    position = await rebuild([], database.service, watched, bounds=SMALL, macs=EVENT_MACS)

    assert position == event_log.head
    assert comparable(stored_rows(database.service)) == before
    assert watched.fractions == sorted(watched.fractions)
    assert (watched.fractions[0], watched.fractions[-1]) == (0.0, 1.0)
    assert len(watched.fractions) > 5
    assert not any(stored_rows(database.service, "read_shadow").values())


async def test_rows_that_were_lost_come_back(event_log: Log, database: DatabaseUrls) -> None:
    event_log.append(RandomHistory(14).commits(100))
    await project(database.service)
    with psycopg.connect(database.service) as connection:
        connection.execute("DELETE FROM read.transactions")
        connection.execute("UPDATE read.balances SET paid_micro = paid_micro + 1")

    await rebuild(
        ["transactions", "balances"], database.service, Watched(), bounds=SMALL, macs=EVENT_MACS
    )

    assert comparable(stored_rows(database.service)) == comparable(event_log.naive_rows())


async def test_queries_see_the_old_rows_until_the_new_ones_are_all_there(
    event_log: Log, database: DatabaseUrls
) -> None:
    event_log.append(RandomHistory(15).commits(150))
    await project(database.service)
    seen: set[int] = set()

    def count_rows(_fraction: float) -> None:
        with psycopg.connect(database.service) as connection:
            row = connection.execute("SELECT count(*) FROM read.transactions").fetchone()
        assert row is not None
        seen.add(row[0])

    await rebuild(["transactions"], database.service, count_rows, bounds=SMALL, macs=EVENT_MACS)

    assert seen == {len(event_log.naive_rows()["transactions"])}


async def test_a_rebuild_goes_on_beside_writes_and_a_working_projector(
    event_log: Log, database: DatabaseUrls
) -> None:
    history = RandomHistory(16)
    event_log.append(history.commits(100))
    await project(database.service)
    draw = random.Random(16)
    async with await AsyncConnection.connect(database.service, autocommit=True) as connection:
        writer = await ProjectionWriter.open(connection, PROJECTIONS, EVENT_MACS)

        async def write_and_project() -> None:
            for _ in range(30):
                await asyncio.to_thread(event_log.append, history.commits(3))
                events = await read_log(connection, after=writer.position, bounds=SMALL_READ)
                try:
                    await writer.write(events[: draw.randrange(len(events) + 1)])
                except PositionsMoved:
                    await writer.load_positions()

        async def rebuild_one_after_the_other() -> None:
            for projection in ("journal", "conversations", "usage", "holds"):
                await rebuild(
                    [projection], database.service, Watched(), bounds=SMALL, macs=EVENT_MACS
                )

        await asyncio.gather(write_and_project(), rebuild_one_after_the_other())
    await project(database.service)

    assert comparable(stored_rows(database.service)) == comparable(event_log.naive_rows())


async def test_a_rebuild_that_is_interrupted_leaves_the_rows_as_they_were(
    event_log: Log, database: DatabaseUrls
) -> None:
    event_log.append(RandomHistory(17).commits(150))
    await project(database.service)

    def interrupt(fraction: float) -> None:
        if fraction > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await rebuild([], database.service, interrupt, bounds=SMALL, macs=EVENT_MACS)

    assert comparable(stored_rows(database.service)) == comparable(event_log.naive_rows())
    await rebuild([], database.service, Watched(), bounds=SMALL, macs=EVENT_MACS)
    assert comparable(stored_rows(database.service)) == comparable(event_log.naive_rows())


async def test_two_rebuilds_at_once_are_refused(event_log: Log, database: DatabaseUrls) -> None:
    event_log.append(RandomHistory(18).commits(10))
    with psycopg.connect(database.service, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (REBUILD_LOCK,))
        with pytest.raises(RebuildInProgress, match="wait until it is done"):
            await rebuild(["usage"], database.service, Watched(), macs=EVENT_MACS)

    await rebuild(["usage"], database.service, Watched(), macs=EVENT_MACS)


async def test_the_next_rebuild_can_begin_before_the_connection_of_the_last_one_has_ended(
    database: DatabaseUrls,
) -> None:
    async with (
        await AsyncConnection.connect(database.service, autocommit=True) as one,
        await AsyncConnection.connect(database.service, autocommit=True) as other,
    ):
        async with shadow_locked(one):
            with pytest.raises(RebuildInProgress):
                async with shadow_locked(other):
                    pass
        async with shadow_locked(other):
            pass


async def test_a_projection_that_does_not_exist_is_named_with_those_that_do(
    event_log: Log, database: DatabaseUrls
) -> None:
    with pytest.raises(UnknownProjection, match=r"'ledgers'.*balances, transactions"):
        await rebuild(["ledgers"], database.service, Watched(), macs=EVENT_MACS)


@pytest.mark.parametrize("events_max", [1, 7, 10_000])
async def test_rows_are_the_same_whatever_is_folded_at_once(
    events_max: int, event_log: Log, database: DatabaseUrls
) -> None:
    event_log.append(RandomHistory(19).commits(120))

    await rebuild(
        [], database.service, Watched(), bounds=ReplayBounds(events_max=events_max), macs=EVENT_MACS
    )

    assert comparable(stored_rows(database.service)) == comparable(event_log.naive_rows())


def shape_of_tables(owner_url: str) -> list[tuple[Any, ...]]:
    """Everything about the tables of the read models but their rows."""
    with psycopg.connect(owner_url) as connection:
        return connection.execute(
            "SELECT c.relname, c.relpersistence, c.relowner::regrole::text,"
            "  (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(c.relacl) AS a),"
            "  (SELECT array_agg(indexdef ORDER BY indexdef) FROM pg_indexes"
            "   WHERE schemaname = 'read' AND tablename = c.relname),"
            "  (SELECT array_agg(conname || pg_get_constraintdef(oid) ORDER BY conname)"
            "   FROM pg_constraint WHERE conrelid = c.oid)"
            " FROM pg_class c WHERE c.relnamespace = 'read'::regnamespace AND c.relkind = 'r'"
            " ORDER BY 1"
        ).fetchall()


async def test_tables_made_anew_are_like_those_that_they_replace(
    event_log: Log, database: DatabaseUrls
) -> None:
    event_log.append(RandomHistory(20).commits(20))
    before = shape_of_tables(database.owner)

    await rebuild([], database.service, Watched(), bounds=SMALL, macs=EVENT_MACS)
    await rebuild(["journal"], database.service, Watched(), bounds=SMALL, macs=EVENT_MACS)

    assert shape_of_tables(database.owner) == before


async def test_a_rebuild_waits_for_a_query_that_takes_long_and_holds_up_no_other(
    event_log: Log, database: DatabaseUrls
) -> None:
    event_log.append(RandomHistory(21).commits(40))
    await project(database.service)
    with psycopg.connect(database.service) as slow:
        slow.execute("SELECT count(*) FROM read.balances")
        with pytest.raises(ReadModelsBusy, match="end them and rebuild again"):
            await rebuild(
                [], database.service, Watched(), bounds=SMALL, exchange_tries=1, macs=EVENT_MACS
            )
        assert comparable(stored_rows(database.service)) == comparable(event_log.naive_rows())

        going_on = asyncio.create_task(
            rebuild([], database.service, Watched(), bounds=SMALL, macs=EVENT_MACS)
        )
        done, _ = await asyncio.wait([going_on], timeout=1.5)
        assert not done
        slow.rollback()
        assert await going_on == event_log.head

    assert comparable(stored_rows(database.service)) == comparable(event_log.naive_rows())


def test_only_read_models_can_be_exchanged(event_log: Log, database: DatabaseUrls) -> None:
    with psycopg.connect(database.service, autocommit=True) as connection:
        for name in ("positions", "nothing", "balances; DROP TABLE read.balances"):
            with pytest.raises(psycopg.errors.InvalidParameterValue, match="no read model"):
                connection.execute("SELECT read_shadow.exchange(%s)", ([name],))


def test_every_read_model_has_a_shadow_of_the_same_shape(
    event_log: Log, database: DatabaseUrls
) -> None:
    with psycopg.connect(database.service) as connection:
        shapes = {
            schema: connection.execute(
                "SELECT table_name, ordinal_position, column_name, data_type, is_nullable"
                " FROM information_schema.columns"
                " WHERE table_schema = %s AND table_name <> 'positions' ORDER BY 1, 2",
                (schema,),
            ).fetchall()
            for schema in ("read", "read_shadow")
        }
    assert shapes["read"] == shapes["read_shadow"]
    assert shapes["read"]
