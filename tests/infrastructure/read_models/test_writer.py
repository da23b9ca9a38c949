import asyncio
import random
from typing import Any
from uuid import UUID

import pytest
from eventsourcing.persistence import StoredEvent
from psycopg import AsyncConnection

from infrastructure.log.reader import ReadBounds, read_log
from infrastructure.read_models.writer import PositionsMoved, ProjectionWriter
from projections.registry import PROJECTIONS
from tests.projections.log import Log, comparable, stored_rows, trial_balance_micro
from tests.projections.random_history import RandomHistory
from tests.support.forging import Forger
from tests.support.keys import EVENT_MACS, with_mac
from tests.support.servers import DatabaseUrls

ALL_AT_ONCE = ReadBounds(events_max=100_000, bytes_max=2**30)


async def catch_up(
    connection: AsyncConnection[Any], writer: ProjectionWriter, events_max: int
) -> None:
    bounds = ReadBounds(events_max=events_max)
    while events := await read_log(connection, after=writer.position, bounds=bounds):
        await writer.write(events)


@pytest.mark.parametrize(("seed", "events_max"), [(1, 1), (2, 7), (3, 1000)])
async def test_rows_are_the_same_whether_written_one_by_one_or_in_batches(
    seed: int,
    events_max: int,
    event_log: Log,
    connection: AsyncConnection[Any],
    database: DatabaseUrls,
) -> None:
    event_log.append(RandomHistory(seed).commits(250))
    writer = await ProjectionWriter.open(connection, PROJECTIONS, EVENT_MACS)

    await catch_up(connection, writer, events_max)

    assert comparable(stored_rows(database.service)) == comparable(event_log.naive_rows())
    assert trial_balance_micro(database.service) == 0
    assert set(writer.positions.values()) == {event_log.head}


async def test_events_that_come_again_change_nothing(
    event_log: Log, connection: AsyncConnection[Any], database: DatabaseUrls
) -> None:
    event_log.append(RandomHistory(4).commits(120))
    events = await read_log(connection, after=0, bounds=ALL_AT_ONCE)
    writer = await ProjectionWriter.open(connection, PROJECTIONS, EVENT_MACS)
    draw = random.Random(4)
    end = 0
    while end < len(events):
        start, end = draw.randrange(end + 1), min(len(events), end + draw.randrange(1, 20))
        await writer.write(events[start:end])

    assert comparable(stored_rows(database.service)) == comparable(event_log.naive_rows())


async def test_a_projection_takes_only_what_is_above_its_own_position(
    event_log: Log, connection: AsyncConnection[Any], database: DatabaseUrls
) -> None:
    event_log.append(RandomHistory(5).commits(80))
    events = await read_log(connection, after=0, bounds=ALL_AT_ONCE)
    early = [projection for projection in PROJECTIONS if projection.name in ("usage", "journal")]
    await (await ProjectionWriter.open(connection, early, EVENT_MACS)).write(events[:100])

    writer = await ProjectionWriter.open(connection, PROJECTIONS, EVENT_MACS)
    assert writer.position == 0
    assert writer.positions["usage"] == events[99].position
    await writer.write(events)

    assert comparable(stored_rows(database.service)) == comparable(event_log.naive_rows())


async def test_a_writer_that_is_overtaken_writes_nothing(
    event_log: Log, connection: AsyncConnection[Any], database: DatabaseUrls
) -> None:
    event_log.append(RandomHistory(6).commits(60))
    events = await read_log(connection, after=0, bounds=ALL_AT_ONCE)
    writer = await ProjectionWriter.open(connection, PROJECTIONS, EVENT_MACS)
    async with await AsyncConnection.connect(database.service, autocommit=True) as other:
        await (await ProjectionWriter.open(other, PROJECTIONS, EVENT_MACS)).write(events[:50])
    before = comparable(stored_rows(database.service))

    with pytest.raises(PositionsMoved):
        await writer.write(events)

    assert comparable(stored_rows(database.service)) == before
    await writer.load_positions()
    await writer.write(events)
    assert comparable(stored_rows(database.service)) == comparable(event_log.naive_rows())


async def test_a_writer_cancelled_at_any_moment_has_written_all_or_nothing(
    event_log: Log, database: DatabaseUrls
) -> None:
    event_log.append(RandomHistory(7).commits(150))
    draw = random.Random(7)
    for _ in range(12):
        async with await AsyncConnection.connect(database.service, autocommit=True) as connection:
            writer = await ProjectionWriter.open(connection, PROJECTIONS, EVENT_MACS)
            events = await read_log(connection, after=writer.position, bounds=ALL_AT_ONCE)
            task = asyncio.create_task(writer.write(events[:60]))
            await asyncio.wait([task], timeout=draw.random() * 0.02)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() or task.exception() is None
    async with await AsyncConnection.connect(database.service, autocommit=True) as connection:
        writer = await ProjectionWriter.open(connection, PROJECTIONS, EVENT_MACS)
        await catch_up(connection, writer, 1000)

    assert comparable(stored_rows(database.service)) == comparable(event_log.naive_rows())


async def test_an_event_that_cannot_be_read_stops_its_batch_and_names_itself(
    event_log: Log, connection: AsyncConnection[Any], database: DatabaseUrls
) -> None:
    event_log.append(RandomHistory(8).commits(5))
    stream_id = UUID("00000000-0000-4000-8000-000000000001")
    unreadable = with_mac(StoredEvent(stream_id, 1, "account.credits_held", b'{"user_id":1}'))
    Forger(database).insert(unreadable)
    writer = await ProjectionWriter.open(connection, PROJECTIONS, EVENT_MACS)
    events = await read_log(connection, after=0, bounds=ALL_AT_ONCE)

    with pytest.raises(Exception, match="00000000-0000-4000-8000-000000000001"):
        await writer.write(events)

    assert writer.position == 0
    await writer.write(events[:-1])
    assert comparable(stored_rows(database.service)) == comparable(event_log.naive_rows())
