"""Whatever NATS delivers or fails to deliver, the rows are what the log says."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from uuid import UUID

import psycopg
import pytest
from eventsourcing.persistence import StoredEvent
from psycopg import AsyncConnection

from infrastructure.log.reader import LoggedEvent, ReadBounds, read_log
from infrastructure.process.condition import State
from infrastructure.read_models.rebuild.rebuild import rebuild
from infrastructure.relay.messages import MessageCodec
from infrastructure.relay.relay import RELAY_LOCK
from tests.infrastructure.relay.own_nats import OwnNats
from tests.infrastructure.relay.running import Running, eventually
from tests.projections.log import Log
from tests.projections.random_history import RandomHistory
from tests.support.forging import Forger
from tests.support.keys import EVENT_MACS, with_mac
from tests.support.servers import DatabaseUrls

EVERYTHING = ReadBounds(events_max=100_000, bytes_max=2**30)


@pytest.fixture
def no_relay(database: DatabaseUrls, event_log: Log) -> Iterator[None]:
    """Keeps every relay waiting: the test itself publishes."""
    with psycopg.connect(database.service, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (RELAY_LOCK,))
        yield


def messages_of(
    codec: MessageCodec, events: Sequence[LoggedEvent], draw: random.Random
) -> Iterator[tuple[str, bytes]]:
    start, previous = 0, 0
    while start < len(events):
        end = start + draw.randrange(1, 12)
        part = events[start:end]
        yield codec.pack(part, previous=previous, bytes_max=2**20)
        start, previous = end, part[-1].position


@pytest.mark.parametrize("seed", [51, 52])
async def test_messages_lost_doubled_and_out_of_order_change_nothing(
    seed: int,
    running: Running,
    event_log: Log,
    database: DatabaseUrls,
    no_relay: None,
) -> None:
    draw = random.Random(seed)
    await running.make_stream()
    service = await running.start()
    await eventually(lambda: service.status().projector.state is State.WORKING, "projecting")
    await eventually(lambda: service.status().subscription.state is State.WORKING, "receiving")
    event_log.append(RandomHistory(seed).commits(150))
    async with await AsyncConnection.connect(database.service) as connection:
        events = await read_log(connection, after=0, bounds=EVERYTHING)
    messages = list(messages_of(running.codec(), events, draw))
    messages += draw.choices(messages, k=10)
    for _ in range(20):
        one, other = draw.randrange(len(messages)), draw.randrange(len(messages))
        messages[one], messages[other] = messages[other], messages[one]
    del messages[draw.randrange(len(messages))]
    messages.insert(len(messages) // 2, ("garbage", b"\x00\xffnot ours"))

    async with running.jetstream() as jetstream:
        for _, body in messages:  # without ids, so that JetStream does not drop what comes twice
            await jetstream.publish(running.settings.subject, body)

    await running.assert_caught_up(service)


async def test_what_a_message_of_another_log_says_is_not_waited_for(
    running: Running, event_log: Log, no_relay: None
) -> None:
    await running.make_stream()
    service = await running.start()
    await eventually(lambda: service.status().subscription.state is State.WORKING, "receiving")
    event_log.append(RandomHistory(53).commits(10))
    foreign = LoggedEvent(
        position=10**9,
        topic="account.opened",
        originator_id=event_log.events[0][1].originator_id,
        originator_version=1,
        state=b"{}",
    )
    async with running.jetstream() as jetstream:
        await jetstream.publish(
            running.settings.subject,
            running.codec().pack([foreign], previous=10**9 - 1, bytes_max=2**20)[1],
        )
    await running.assert_caught_up(service)
    event_log.append(RandomHistory(54).commits(10))
    await running.assert_caught_up(service)


async def test_rows_keep_up_while_nats_is_killed_and_come_by_nats_again(
    running: Running, event_log: Log, own_nats: OwnNats
) -> None:
    history = RandomHistory(55)
    service = await running.start_working()
    event_log.append(history.commits(20))
    await running.assert_caught_up(service)
    for _ in range(2):
        own_nats.kill()
        event_log.append(history.commits(30))
        await running.assert_caught_up(service)
        await eventually(lambda: service.status().relay.state is State.AWAY, "noticing")
        own_nats.start()
        event_log.append(history.commits(30))
        await running.assert_caught_up(service)
        await eventually(
            lambda: service.status().subscription.state is State.WORKING, "receiving again"
        )
        await running.assert_published(service)
    positions = [e.position for _, message in await running.messages() for e in message.events]
    assert sorted(set(positions)) == [position for position, _ in event_log.events]


async def test_rows_keep_up_when_nats_lost_its_data(
    running: Running, event_log: Log, own_nats: OwnNats
) -> None:
    history = RandomHistory(56)
    service = await running.start_working()
    event_log.append(history.commits(30))
    await running.assert_caught_up(service)
    own_nats.kill()
    own_nats.wipe()
    event_log.append(history.commits(30))
    own_nats.start()
    event_log.append(history.commits(30))
    await running.assert_caught_up(service)
    await running.assert_published(service)


async def test_rows_keep_up_when_the_stream_is_deleted_under_way(
    running: Running, event_log: Log
) -> None:
    history = RandomHistory(57)
    service = await running.start_working()
    for _ in range(3):
        event_log.append(history.commits(10))
        await running.assert_caught_up(service)
        await running.assert_published(service)
        async with running.jetstream() as jetstream:
            await jetstream.delete_stream(running.settings.stream)
    event_log.append(history.commits(10))
    await running.assert_caught_up(service)
    await running.assert_published(service)


async def test_rows_keep_up_while_nats_is_frozen(
    running: Running, event_log: Log, own_nats: OwnNats
) -> None:
    history = RandomHistory(58)
    service = await running.start_working()
    event_log.append(history.commits(10))
    own_nats.freeze()
    try:
        for _ in range(3):
            event_log.append(history.commits(10))
            await running.assert_caught_up(service)
    finally:
        own_nats.thaw()
    event_log.append(history.commits(10))
    await running.assert_caught_up(service)
    await running.assert_published(service)


async def test_rows_keep_up_where_nats_never_was(
    database: DatabaseUrls, event_log: Log, stream_prefix: str
) -> None:
    running = Running(database.service, "nats://127.0.0.1:1", stream_prefix, event_log)
    try:
        service = await running.start()
        event_log.append(RandomHistory(59).commits(40))
        await running.assert_caught_up(service)
        await eventually(lambda: service.status().relay.state is State.AWAY, "saying so")
        await eventually(lambda: service.status().projector.state is State.WORKING, "working")
        status = service.status()
        assert status.relay.last_error is not None
        assert set(status.positions.values()) == {event_log.head}
    finally:
        await running.stop_all()


async def test_what_accumulated_while_nobody_projected_is_caught_up(
    running: Running, event_log: Log
) -> None:
    history = RandomHistory(60)
    event_log.append(history.commits(100))
    service = await running.start_working()
    await running.assert_caught_up(service)
    await service.stop()
    event_log.append(history.commits(200))
    service = await running.start()
    await running.assert_caught_up(service)


async def test_more_than_the_inbox_holds_is_read_from_the_log(
    running: Running, event_log: Log
) -> None:
    service = await running.start_working(replace(running.settings, inbox_events_max=15))
    history = RandomHistory(61)
    for _ in range(10):
        await asyncio.to_thread(event_log.append, history.commits(20))
    await running.assert_caught_up(service)


async def test_a_projector_killed_at_random_moments_loses_and_doubles_nothing(
    running: Running, event_log: Log
) -> None:
    seed = 62
    draw = random.Random(seed)
    history = RandomHistory(seed)
    for _ in range(12):
        service = await running.start()
        writing = asyncio.create_task(asyncio.to_thread(event_log.append, history.commits(15)))
        await asyncio.wait([writing], timeout=draw.random() * 0.3)
        await service.stop()
        await writing
    await running.assert_caught_up(await running.start())


async def test_work_goes_on_after_the_database_cut_its_connections(
    running: Running, event_log: Log
) -> None:
    history = RandomHistory(63)
    service = await running.start_working()
    for _ in range(3):
        event_log.append(history.commits(10))
        for name in ("chatledger relay", "chatledger projector"):
            running.cut_connections(name)
        event_log.append(history.commits(10))
        await running.assert_caught_up(service)
    await running.assert_published(service)


async def test_a_rebuild_beside_the_projector_leaves_both_right(
    running: Running, event_log: Log, database: DatabaseUrls
) -> None:
    history = RandomHistory(64)
    event_log.append(history.commits(100))
    service = await running.start_working()

    async def write() -> None:
        for _ in range(20):
            await asyncio.to_thread(event_log.append, history.commits(3))

    async def rebuild_all() -> None:
        for _ in range(3):
            await rebuild([], database.service, lambda _fraction: None, macs=EVENT_MACS)

    await asyncio.gather(write(), rebuild_all())
    await running.assert_caught_up(service)


async def test_an_event_that_cannot_be_projected_stops_what_follows_and_says_which(
    running: Running, event_log: Log, database: DatabaseUrls
) -> None:
    service = await running.start_working()
    event_log.append(RandomHistory(65).commits(20))
    stream_id = UUID("00000000-0000-4000-8000-000000000009")
    unreadable = with_mac(StoredEvent(stream_id, 3, "account.credits_held", b'{"user_id":1}'))
    Forger(database).insert(unreadable)
    await eventually(lambda: service.status().projector.state is State.AWAY, "stopping")
    assert "00000000-0000-4000-8000-000000000009" in str(service.status().projector.last_error)
    running.assert_rows()  # everything before it
    assert set(service.status().positions.values()) == {event_log.head}
