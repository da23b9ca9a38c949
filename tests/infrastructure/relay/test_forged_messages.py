"""Whoever gets a password of NATS can publish there, and no more: what the ledger did not write is
not believed, and is told."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from uuid import UUID

import msgspec
import psycopg
import pytest
import structlog
from psycopg import AsyncConnection

from application.ledger.keys import LedgerKeys
from infrastructure.log.reader import LoggedEvent, ReadBounds, are_in_log, read_log
from infrastructure.process.condition import State
from infrastructure.read_models.service import ProjectionService
from infrastructure.relay.messages import ForgedMessage, MessageCodec
from infrastructure.relay.relay import RELAY_LOCK
from infrastructure.relay.subscription import Forgeries
from tests.infrastructure.relay.running import Running, eventually
from tests.projections.log import Log
from tests.projections.random_history import RandomHistory
from tests.support.keys import LEDGER_KEYS
from tests.support.servers import DatabaseUrls

STRANGERS_KEYS = LedgerKeys("test", {"test": b"guessed".ljust(32, b".")})


@pytest.fixture
def no_relay(database: DatabaseUrls, event_log: Log) -> Iterator[None]:
    """Every relay is in reserve: the test itself publishes."""
    with psycopg.connect(database.service, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (RELAY_LOCK,))
        yield


@pytest.fixture
async def projecting(running: Running, event_log: Log, no_relay: None) -> ProjectionService:
    """Everything is projected, and nothing comes but what the test publishes."""
    await running.make_stream()
    event_log.append(RandomHistory(81).commits(20))
    service = await running.start(replace(running.settings, poll_s=0.2))
    await eventually(lambda: service.status().subscription.state is State.WORKING, "receiving")
    await running.assert_caught_up(service)
    return service


def opened(log: Log, position: int, version: int = 1) -> LoggedEvent:
    """An account with 777 credits that nobody has bought, as the next event."""
    return LoggedEvent(
        position=position,
        topic="account.credits_granted",
        originator_id=log.events[0][1].originator_id,
        originator_version=version,
        state=b'{"balance": {"promotional_micro": 777000000}}',
    )


async def publish(running: Running, *bodies: bytes, **headers: str) -> None:
    async with running.jetstream() as jetstream:
        for body in bodies:
            await jetstream.publish(running.settings.subject, body, headers=headers or None)


def packed_plain(events: Sequence[LoggedEvent], previous: int, last: int = 0) -> bytes:
    """As messages were before they had a MAC."""
    body = [events[0].position, last or events[-1].position, previous, list(events)]
    return msgspec.msgpack.encode(body)


def enveloped(body: bytes, mac: bytes = bytes(32), key_id: str = "test") -> bytes:
    return msgspec.msgpack.encode([key_id, mac, body])


async def test_a_forged_balance_changes_no_row_and_moves_no_position(
    running: Running, event_log: Log, projecting: ProjectionService
) -> None:
    head = event_log.head
    next_event = opened(event_log, head + 1)
    plain = packed_plain([next_event], head)
    _, of_other_keys = running.codec(STRANGERS_KEYS).pack(
        [next_event], previous=head, bytes_max=2**20
    )
    forged = [
        plain,
        enveloped(plain),
        enveloped(plain, key_id="k2"),
        enveloped(plain, mac=b""),
        of_other_keys,
        packed_plain([opened(event_log, 9 * 10**18)], head),
        packed_plain([opened(event_log, head + 5)], head, last=head - 5),
        b"",
        b"not ours",
        b"\x93\xa4\xff\xff\xff\xff\xc4\x00\xc4\x00",  # its key's id is no text
        b"\x94\xa4test\xc4\x00\xc4\x00" + b"\x91" * 100_000 + b"\xc0",  # as deep as it goes
    ]

    with structlog.testing.capture_logs() as logs:
        await publish(running, *forged)
        await eventually(
            lambda: projecting.status().forged_messages == len(forged), "refusing them all"
        )

    running.assert_rows()
    assert set(projecting.status().positions.values()) == {head}
    assert [line["event"] for line in logs].count("forged_message_refused") == 1
    # What follows in earnest is projected, and by NATS again.
    event_log.append(RandomHistory(82).commits(5))
    await running.assert_caught_up(projecting)


async def test_positions_are_not_moved_past_events_that_nobody_has_seen(
    running: Running, event_log: Log, projecting: ProjectionService
) -> None:
    head = event_log.head
    await publish(running, packed_plain([opened(event_log, head + 500)], head))
    event_log.append(RandomHistory(83).commits(10))
    await running.assert_caught_up(projecting)


async def test_a_message_of_the_log_before_it_was_restored_is_refused(
    running: Running, event_log: Log, projecting: ProjectionService
) -> None:
    head = event_log.head
    _, lost = running.codec().pack([opened(event_log, head + 1)], previous=head, bytes_max=2**20)

    await publish(running, lost)

    await eventually(lambda: projecting.status().forged_messages == 1, "refusing it")
    assert projecting.status().last_forgery == "its events are not in the log"
    running.assert_rows()
    event_log.append(RandomHistory(84).commits(10))
    await publish(running, lost)
    await running.assert_caught_up(projecting)


async def test_events_are_known_from_others_that_a_restored_log_has_in_their_places(
    database: DatabaseUrls, event_log: Log
) -> None:
    event_log.append(RandomHistory(89).commits(20))
    bounds = ReadBounds()
    async with await AsyncConnection.connect(database.service, autocommit=True) as connection:
        events = list(await read_log(connection, after=0, bounds=bounds))
        assert await are_in_log(connection, events)
        for place in (0, len(events) // 2, len(events) - 1):
            lost = msgspec.structs.replace(events[place], state=b'{"amount_micro":777}')
            others = [*events[:place], lost, *events[place + 1 :]]
            assert not await are_in_log(connection, others)


async def test_a_flood_of_forged_messages_holds_up_nothing(
    running: Running, event_log: Log, projecting: ProjectionService
) -> None:
    flood = [enveloped(b"x" * 1000)] * 3000

    async def publish_all() -> None:
        async with running.jetstream() as jetstream:
            for body in flood:
                await jetstream._nc.publish(running.settings.subject, body)
            await jetstream._nc.flush()

    with structlog.testing.capture_logs() as logs:
        flooding = asyncio.create_task(publish_all())
        event_log.append(RandomHistory(85).commits(10))
        await running.assert_caught_up(projecting)
        await flooding
        await eventually(
            lambda: projecting.status().forged_messages == len(flood), "refusing them all"
        )
    assert [line["event"] for line in logs].count("forged_message_refused") == 1


async def test_a_forged_last_message_does_not_tell_a_relay_where_to_go_on(
    running: Running, event_log: Log
) -> None:
    history = RandomHistory(86)
    service = await running.start_working()
    event_log.append(history.commits(10))
    await running.assert_published(service)
    await running.assert_caught_up(service)
    await service.stop()
    future = opened(event_log, event_log.head + 1000)
    codec = running.codec()
    await publish(running, packed_plain([future], event_log.head))
    await publish(running, codec.pack([future], previous=event_log.head, bytes_max=2**20)[1])

    service = await running.start_working()
    event_log.append(history.commits(10))
    await running.assert_published(service)
    await running.assert_caught_up(service)


async def test_a_message_is_not_kept_out_by_one_that_has_its_id(
    running: Running, event_log: Log
) -> None:
    service = await running.start_working()
    event_log.append(RandomHistory(87).commits(3))
    await running.assert_published(service)
    head = event_log.head
    for first in range(head + 1, head + 4):
        for last in range(first, first + 6):
            await publish(running, b"forged", **{"Nats-Msg-Id": f"{first}-{last}"})
    event_log.append(RandomHistory(88).commits(4))
    await running.assert_published(service)
    await running.assert_caught_up(service)

    async with running.jetstream() as jetstream:
        state = (await jetstream.stream_info(running.settings.stream)).state
        codec, published = running.codec(), set()
        for sequence in range(state.first_seq, state.last_seq + 1):
            data = (await jetstream.get_msg(running.settings.stream, sequence)).data or b""
            if data != b"forged":
                published |= {event.position for event in codec.unpack(data).events}
    assert published == {position for position, _ in event_log.events}


def test_messages_of_another_log_stream_or_purpose_prove_nothing() -> None:
    log = UUID(int=7)
    event = LoggedEvent(1, "account.opened", UUID(int=9), 1, b"{}")
    codec = MessageCodec(LEDGER_KEYS, stream="one", log=log)
    _, data = codec.pack([event], previous=0, bytes_max=2**20)
    assert codec.unpack(data).events == [event]
    for other in (
        MessageCodec(LEDGER_KEYS, stream="one", log=UUID(int=8)),
        MessageCodec(LEDGER_KEYS, stream="two", log=log),
        MessageCodec(STRANGERS_KEYS, stream="one", log=log),
    ):
        with pytest.raises(ForgedMessage, match="its MAC is wrong"):
            other.unpack(data)
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(ForgedMessage):
            codec.unpack(changed)


def test_forged_messages_are_counted_and_said_seldom() -> None:
    now_s = 0.0
    forgeries = Forgeries(lambda: now_s)
    with structlog.testing.capture_logs() as logs:
        for _ in range(1000):
            forgeries.add("it has no MAC")
        now_s = 100.0
        forgeries.add("its MAC is wrong")
    assert [line["count"] for line in logs] == [1, 1001]
    assert (forgeries.count, forgeries.last) == (1001, "its MAC is wrong")
