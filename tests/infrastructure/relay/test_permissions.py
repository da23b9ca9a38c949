"""What somebody can do who has got a password of NATS."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamConfig

from infrastructure.embedded.servers import EmbeddedServers
from infrastructure.proofs.checkpoints.publisher import checkpoint_stream
from infrastructure.proofs.checkpoints.records import BadRecord, SignedCheckpoint
from infrastructure.proofs.checkpoints.settings import CheckpointSettings
from infrastructure.relay.nats_connection import READER_INBOX, RELAY_INBOX, ensure, ensure_stream
from infrastructure.relay.settings import ProjectionSettings

# As long as a server may take for an answer that it will not give.
REFUSED_S = 0.3


class Streams:
    """Of one test, with an event and a checkpoint in them."""

    def __init__(self, servers: EmbeddedServers, name: str) -> None:
        self.servers = servers
        self.events = ProjectionSettings(stream=name)
        self.checkpoints = CheckpointSettings(folder=Path(), connections=self.events)

    @asynccontextmanager
    async def relay(self) -> AsyncIterator[Client]:
        async with _connected(self.servers.nats_url, RELAY_INBOX) as client:
            yield client

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[Client]:
        async with _connected(self.servers.nats_read_url, READER_INBOX) as client:
            yield client

    async def counts(self) -> tuple[int, int]:
        async with self.reader() as client:
            jetstream = client.jetstream()
            events = await jetstream.stream_info(self.events.stream)
            checkpoints = await jetstream.stream_info(self.checkpoints.stream)
            return events.state.messages, checkpoints.state.messages


@asynccontextmanager
async def _connected(url: str, inbox: str) -> AsyncIterator[Client]:
    async def ignore(error: Exception) -> None:
        """A refusal is told twice."""

    client = await nats.connect(url, inbox_prefix=inbox, error_cb=ignore)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def streams(embedded_servers: EmbeddedServers, stream_prefix: str) -> Streams:
    made = Streams(embedded_servers, stream_prefix)
    async with made.relay() as client:
        jetstream = client.jetstream()
        await ensure_stream(jetstream, made.events)
        await ensure(jetstream, checkpoint_stream(made.checkpoints))
        await jetstream.publish(made.events.subject, b"an event")
        await jetstream.publish(made.checkpoints.subject("a-log"), b"a checkpoint")
    return made


@pytest.mark.parametrize("user", ["relay", "reader"])
async def test_nobody_deletes_purges_or_changes_a_stream(streams: Streams, user: str) -> None:
    connected = streams.relay if user == "relay" else streams.reader
    async with connected() as client:
        for name in (streams.events.stream, streams.checkpoints.stream):
            for request, body in (
                (f"STREAM.DELETE.{name}", b""),
                (f"STREAM.PURGE.{name}", b""),
                (f"STREAM.MSG.DELETE.{name}", b'{"seq": 1}'),
                (f"STREAM.UPDATE.{name}", b'{"name": "%s", "max_msgs": 1}' % name.encode()),
                (f"STREAM.SNAPSHOT.{name}", b'{"deliver_subject": "x"}'),
                ("STREAM.NAMES", b""),
            ):
                with pytest.raises(NatsError):
                    await client.request(f"$JS.API.{request}", body, timeout=REFUSED_S)
    assert await streams.counts() == (1, 1)


async def test_making_a_stream_again_with_other_bounds_changes_nothing(streams: Streams) -> None:
    async with streams.relay() as client:
        jetstream = client.jetstream(timeout=REFUSED_S)
        for name, subjects in (
            (streams.events.stream, streams.events.subject),
            (streams.checkpoints.stream, streams.checkpoints.subjects),
        ):
            with pytest.raises(NatsError):
                await jetstream.add_stream(StreamConfig(name=name, subjects=[subjects], max_msgs=1))
        with suppress(NatsError):  # a roll-up would take the place of what is there
            await jetstream.publish(
                streams.checkpoints.subject("a-log"), b"rolled", headers={"Nats-Rollup": "all"}
            )
    async with streams.reader() as client:
        first = await client.jetstream().get_msg(streams.checkpoints.stream, 1)
    assert first.data == b"a checkpoint"


async def test_who_reads_cannot_publish(streams: Streams) -> None:
    async with streams.reader() as client:
        for subject in (
            streams.events.subject,
            streams.checkpoints.subject("a-log"),
            "anything",
        ):
            with pytest.raises(NatsError):
                await client.request(subject, b"forged", timeout=REFUSED_S)
    assert await streams.counts() == (1, 1)


async def test_who_reads_cannot_have_a_consumer_write_for_it(streams: Streams) -> None:
    """A consumer delivers with the server's own rights, and without bodies: as requests look."""
    targets = [
        f"$JS.API.STREAM.DELETE.{streams.checkpoints.stream}",
        f"$JS.API.STREAM.PURGE.{streams.events.stream}",
        streams.checkpoints.subject("a-log"),
        streams.events.subject,
    ]
    async with streams.reader() as client:
        jetstream = client.jetstream()
        for target in targets:
            with suppress(NatsError):
                await jetstream.add_consumer(
                    streams.events.stream,
                    ConsumerConfig(
                        deliver_subject=target,
                        deliver_policy=DeliverPolicy.ALL,
                        ack_policy=AckPolicy.NONE,
                        headers_only=True,
                    ),
                )
        # One that delivers to us has had what there is: so would the others have.
        inbox = client.new_inbox()
        received = await client.subscribe(inbox)
        await jetstream.add_consumer(
            streams.events.stream,
            ConsumerConfig(
                deliver_subject=inbox, deliver_policy=DeliverPolicy.ALL, ack_policy=AckPolicy.NONE
            ),
        )
        assert (await received.next_msg(5)).data == b"an event"
    assert await streams.counts() == (1, 1)


async def test_who_relays_receives_nothing_but_answers(streams: Streams) -> None:
    async with streams.relay() as client:
        heard = [
            await client.subscribe(subject)
            for subject in (streams.events.subject, ">", f"{READER_INBOX}.>")
        ]
        await client.jetstream().publish(streams.events.subject, b"another")
        for subscription in heard:
            with pytest.raises((NatsError, asyncio.TimeoutError)):
                await subscription.next_msg(REFUSED_S)


async def test_the_server_s_answers_carry_nothing_out_for_who_reads(streams: Streams) -> None:
    """An answer goes to whatever subject the request names, with the server's own rights: among
    the messages, too, but never as a request."""
    name, checkpoints = streams.events.stream, streams.checkpoints
    targets = [
        f"$JS.API.STREAM.{request}.{stream}"
        for request in ("PURGE", "DELETE", "MSG.DELETE", "UPDATE")
        for stream in (name, checkpoints.stream)
    ]
    async with streams.reader() as client:
        for target in (*targets, checkpoints.subject("a-log")):
            for request in (f"STREAM.INFO.{name}", f"STREAM.MSG.GET.{name}"):
                await client.publish(f"$JS.API.{request}", b'{"seq": 1}', reply=target)
        # The last answers are there, so those before them were sent.
        async with asyncio.timeout(10):
            while True:
                if (await streams.counts())[1] == 3:
                    break
                await asyncio.sleep(0.05)
        jetstream = client.jetstream()
        assert (await jetstream.get_msg(name, 1)).data == b"an event"
        assert (await jetstream.get_msg(checkpoints.stream, 1)).data == b"a checkpoint"
        added = (await jetstream.get_msg(checkpoints.stream, 2)).data
    with pytest.raises(BadRecord):
        SignedCheckpoint.from_line(added or b"")
