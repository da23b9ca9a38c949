from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from infrastructure.embedded.servers import EmbeddedServers
from infrastructure.process.condition import State
from infrastructure.read_models.projector import PROJECTOR_LOCK
from infrastructure.relay.messages import PackedEvents
from infrastructure.relay.settings import ProjectionSettings
from tests.infrastructure.relay.own_nats import OwnNats
from tests.infrastructure.relay.running import Running, eventually
from tests.projections.log import Log, open_log
from tests.projections.random_history import RandomHistory
from tests.support.keys import EVENT_MACS
from tests.support.servers import DatabaseUrls, drop_database, fresh_database, fresh_name


def positions(messages: list[tuple[str, PackedEvents]]) -> list[int]:
    return [event.position for _, message in messages for event in message.events]


async def test_every_event_is_published_once_in_order_with_what_shows_a_gap(
    running: Running, event_log: Log
) -> None:
    service = await running.start_working()
    event_log.append(RandomHistory(41).commits(120))
    await running.assert_published(service)
    await running.assert_caught_up(service)

    messages = await running.messages()
    assert positions(messages) == [position for position, _ in event_log.events]
    assert messages[0][1].previous == 0
    for (_, one), (_, next_one) in pairwise(messages):
        assert next_one.previous == one.last
    for message_id, message in messages:
        assert message_id.startswith(f"{message.first}-{message.last}-")
        assert (message.events[0].position, message.events[-1].position) == (
            message.first,
            message.last,
        )
        assert len(message.events) <= running.settings.message_events_max
    published = [event.decode(EVENT_MACS) for _, message in messages for event in message.events]
    assert published == [event for _, event in event_log.events]


async def test_a_commit_is_published_without_waiting_for_the_poll(
    running: Running, event_log: Log
) -> None:
    patient = replace(running.settings, poll_s=3600.0)
    service = await running.start_working(patient)
    history = RandomHistory(42)
    for _ in range(20):
        event_log.append(history.commits(1))
        await running.assert_caught_up(service)


async def test_a_relay_goes_on_where_the_read_models_are(
    running: Running, event_log: Log, database: DatabaseUrls
) -> None:
    history = RandomHistory(43)
    service = await running.start_working()
    event_log.append(history.commits(20))
    await running.assert_published(service)
    await running.assert_caught_up(service)
    await service.stop()
    event_log.append(history.commits(20))
    with psycopg.connect(database.service, autocommit=True) as connection:
        # Nobody else projects before the relay has begun.
        connection.execute("SELECT pg_advisory_lock(%s)", (PROJECTOR_LOCK,))
        service = await running.start()
        await running.assert_published(service)
        assert positions(await running.messages()) == [position for position, _ in event_log.events]
    await running.assert_caught_up(service)


async def test_what_is_further_behind_than_readers_keep_is_not_published_again(
    running: Running, event_log: Log
) -> None:
    history = RandomHistory(50)
    service = await running.start_working()
    event_log.append(history.commits(5))
    await running.assert_caught_up(service)
    await running.assert_published(service)
    await service.stop()
    published = positions(await running.messages())
    event_log.append(history.commits(60))
    service = await running.start_working(replace(running.settings, inbox_events_max=20))
    await running.assert_caught_up(service)
    behind = event_log.head
    event_log.append(history.commits(5))
    await running.assert_published(service)
    await running.assert_caught_up(service)
    again = positions(await running.messages())[len(published) :]
    # All of it, or as much as the projector had not yet done when the relay began.
    assert len([position for position in again if position <= behind]) <= 20


async def test_one_relay_and_one_projector_work_and_another_takes_over(
    running: Running, event_log: Log
) -> None:
    history = RandomHistory(44)
    first = await running.start_working()
    second = await running.start()
    await eventually(lambda: second.status().projector.state is State.STANDBY, "the second's wait")
    await eventually(lambda: second.status().relay.state is State.STANDBY, "the second's wait")
    event_log.append(history.commits(30))
    await running.assert_caught_up(first)
    await running.assert_published(first)
    assert not second.board.leading

    await first.stop()
    # What is committed while nobody publishes is read from the log, and may never be in the stream.
    await eventually(lambda: second.status().relay.state is State.WORKING, "the second's relay")
    event_log.append(history.commits(30))
    await running.assert_caught_up(second)
    assert second.board.leading
    assert not first.board.leading
    await eventually(lambda: second.status().stream_position == event_log.head, "publishing")
    assert positions(await running.messages()) == [position for position, _ in event_log.events]


async def test_what_another_log_left_in_the_stream_is_in_nobodys_way(
    running: Running, event_log: Log, embedded_servers: EmbeddedServers
) -> None:
    name = fresh_name("other")
    urls = fresh_database(embedded_servers, name)
    try:
        with open_log(urls) as other_log:
            other_log.append(RandomHistory(45).commits(100))
            other = Running(urls.service, running.nats_url, running.settings.stream, other_log)
            service = await other.start()
            await other.assert_caught_up(service)
            other_log.append(RandomHistory(46).commits(100))
            await other.assert_caught_up(service)
            await other.assert_published(service)
            await other.stop_all()
    finally:
        drop_database(embedded_servers, name)

    service = await running.start_working()
    event_log.append(RandomHistory(47).commits(20))
    await running.assert_caught_up(service)
    await running.assert_published(service)
    assert service.status().forged_messages == 0


async def test_an_event_too_large_for_the_transport_reaches_the_rows_all_the_same(
    tmp_path: Path, database: DatabaseUrls, event_log: Log, stream_prefix: str
) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    nats = OwnNats(folder, payload_bytes_max=4096 + 600)
    nats.start()
    running = Running(database.service, nats.url, stream_prefix, event_log)
    try:
        service = await running.start_working(replace(running.settings, message_bytes_max=400))
        event_log.append(RandomHistory(48).commits(60))
        await running.assert_caught_up(service)
        await running.assert_published(service)
        messages = await running.messages()
        assert any(not message.events for _, message in messages)
        assert messages[-1][1].last == event_log.head
    finally:
        await running.stop_all()
        nats.kill()


async def test_a_stream_keeps_to_its_bounds(running: Running, event_log: Log) -> None:
    small = replace(running.settings, stream_bytes_max=20_000, stream_age_s_max=60.0)
    service = await running.start_working(small)
    event_log.append(RandomHistory(49).commits(200))
    await running.assert_caught_up(service)
    await running.assert_published(service)
    async with running.jetstream() as jetstream:
        info = await jetstream.stream_info(running.settings.stream)
        assert info.state.bytes <= 20_000
        assert info.config.max_age == 60.0
    await service.stop()

    # Other settings later are brought to the stream that is there.
    service = await running.start_working(replace(small, stream_bytes_max=50_000))
    async with running.jetstream() as jetstream:
        assert (await jetstream.stream_info(running.settings.stream)).config.max_bytes == 50_000


def test_a_stream_name_that_nats_would_refuse_is_refused_early() -> None:
    for name in ("", "a b", "a.b", "a*", "a>", "a/b"):
        with pytest.raises(ValueError, match="name of the JetStream stream"):
            ProjectionSettings(stream=name)
