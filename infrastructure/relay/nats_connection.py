"""Connections to NATS. They do not reconnect by themselves: when one breaks, its user opens another
and starts again from a known position."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from nats.aio.client import Client
from nats.errors import Error
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError

from infrastructure.relay.settings import ProjectionSettings

log = structlog.get_logger()

RELAY_INBOX = "_INBOX.relay"
READER_INBOX = "_INBOX.reader"
# An upper bound for a message's headers and JetStream's own framing.
_HEADER_BYTES = 4096


class _Client(Client):
    """For nats-py tls:// is a wish: it uses TLS only where the server says that TLS is required. An
    attacker between the two could say that it is not, so that is an error here."""

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        server = self._current_server
        wants_tls = initial_connection and server is not None and server.uri.scheme == "tls"
        if wants_tls and not info.get("tls_required"):
            assert server is not None
            raise Error(f"NATS at {server.uri.hostname} does not ask for TLS, and NATS_URL does")
        await super()._process_info(info, initial_connection)


@dataclass(frozen=True)
class NatsConnection:
    """payload_bytes_max: what the server takes in one message. closed: set when it is over."""

    client: Client
    jetstream: JetStreamContext
    payload_bytes_max: int
    closed: asyncio.Event


@asynccontextmanager
async def nats_connection(
    url: str, *, name: str, inbox: str, settings: ProjectionSettings
) -> AsyncIterator[NatsConnection]:
    """url: one server, or several with commas between. inbox: RELAY_INBOX or READER_INBOX, where
    answers are received; with one for each user, nobody needs the right to receive another's
    answers. Raises OSError, TimeoutError or nats.errors.Error."""
    closed = asyncio.Event()

    async def on_closed() -> None:
        closed.set()

    client = _Client()
    try:
        async with asyncio.timeout(settings.connect_timeout_s):
            await client.connect(
                [server.strip() for server in url.split(",")],
                name=name,
                inbox_prefix=inbox,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=settings.connect_timeout_s,
                ping_interval=10,
                error_cb=_ignore,
                closed_cb=on_closed,
            )
        yield NatsConnection(
            client=client,
            jetstream=client.jetstream(timeout=settings.ack_timeout_s),
            payload_bytes_max=client.max_payload - _HEADER_BYTES,
            closed=closed,
        )
    finally:
        await client.close()


async def ensure_stream(jetstream: JetStreamContext, settings: ProjectionSettings) -> None:
    """Make the stream, or bring its bounds up to the settings."""
    config = StreamConfig(
        name=settings.stream,
        subjects=[settings.subject],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        # What is discarded here is read from PostgreSQL, which has everything.
        discard=DiscardPolicy.OLD,
        max_age=settings.stream_age_s_max,
        max_bytes=settings.stream_bytes_max,
        num_replicas=settings.stream_replicas,
        duplicate_window=min(120.0, settings.stream_age_s_max),
    )
    await ensure(jetstream, config)


async def ensure(jetstream: JetStreamContext, config: StreamConfig) -> None:
    """Make the stream. One that exists with other bounds gets these if this user may change
    streams, and keeps its own otherwise."""
    try:
        await jetstream.add_stream(config)
    except BadRequestError:
        try:
            await jetstream.update_stream(config)
        except TimeoutError:  # what NATS does with a request that it does not permit
            log.warning(
                "stream_has_other_bounds",
                stream=config.name,
                advice="if they are not meant, a user who may change streams can edit it",
            )


async def _ignore(error: Exception) -> None:
    """The error is raised where the connection is used as well; logged here it would appear
    twice."""
