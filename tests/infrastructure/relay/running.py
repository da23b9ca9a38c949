"""Relay and projector as a test runs them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import psycopg
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from application.ledger.keys import LedgerKeys
from infrastructure.process.condition import State
from infrastructure.read_models.service import ProjectionService
from infrastructure.relay.messages import MessageCodec, PackedEvents
from infrastructure.relay.nats_connection import RELAY_INBOX, ensure_stream, nats_connection
from infrastructure.relay.settings import ProjectionSettings
from tests.projections.log import Log, comparable, stored_rows, trial_balance_micro
from tests.support.keys import LEDGER_KEYS

PATIENCE_S = 30.0
# Quick to notice, so that tests are quick; every bound is reached in earnest.
QUICK = ProjectionSettings(
    poll_s=0.2,
    away_poll_s=0.05,
    leader_retry_s=0.05,
    backoff_s_min=0.02,
    backoff_s_max=0.2,
    ack_timeout_s=0.5,
    connect_timeout_s=2,
    message_events_max=20,
    batch_events_max=50,
)


class Running:
    def __init__(
        self, service_url: str, nats_url: str, stream: str, log: Log, *, nats_read_url: str = ""
    ) -> None:
        self.service_url = service_url
        self.nats_read_url = nats_read_url
        self.nats_url = nats_url
        self.settings = replace(QUICK, stream=stream)
        self.log = log
        self._services: list[ProjectionService] = []

    async def start(self, settings: ProjectionSettings | None = None) -> ProjectionService:
        service = ProjectionService(
            self.service_url,
            self.nats_url,
            settings or self.settings,
            keys=LEDGER_KEYS,
            nats_read_url=self.nats_read_url,
        )
        self._services.append(service)
        await service.start()
        return service

    async def stop_all(self) -> None:
        for service in self._services:
            await service.stop()

    async def start_working(self, settings: ProjectionSettings | None = None) -> ProjectionService:
        """Returns when relay, subscription and projector do their work."""
        service = await self.start(settings)

        def all_work() -> bool:
            status = service.status()
            parts = (status.relay, status.subscription, status.projector)
            return all(part.state is State.WORKING for part in parts)

        await eventually(all_work, "the start")
        return service

    async def assert_published(self, service: ProjectionService) -> None:
        await eventually(
            lambda: service.status().stream_position == self.log.head, "publishing everything"
        )

    def codec(self, keys: LedgerKeys = LEDGER_KEYS) -> MessageCodec:
        """Of this log and stream."""
        with psycopg.connect(self.service_url) as connection:
            row = connection.execute("SELECT id FROM ledger.identity").fetchone()
        assert row is not None
        return MessageCodec(keys, stream=self.settings.stream, log=row[0])

    async def make_stream(self) -> None:
        async with self.jetstream() as jetstream:
            await ensure_stream(jetstream, self.settings)

    @asynccontextmanager
    async def jetstream(self) -> AsyncIterator[JetStreamContext]:
        async with nats_connection(
            self.nats_url, name="test", inbox=RELAY_INBOX, settings=self.settings
        ) as nats:
            yield nats.jetstream

    async def messages(self) -> list[tuple[str, PackedEvents]]:
        """Id and content of everything in the stream."""
        found: list[tuple[str, PackedEvents]] = []
        codec = self.codec()
        async with self.jetstream() as jetstream:
            sequence = (await jetstream.stream_info(self.settings.stream)).state.first_seq
            while True:
                try:
                    message = await jetstream.get_msg(self.settings.stream, sequence)
                except NotFoundError:
                    return found
                assert message.headers is not None
                assert message.data is not None
                found.append((message.headers["Nats-Msg-Id"], codec.unpack(message.data)))
                sequence += 1

    async def assert_caught_up(self, service: ProjectionService) -> None:
        """Everything in the log is in the rows, and they are what naive folding makes of it."""
        assert await service.board.wait_for(self.log.head, PATIENCE_S), service.status()
        self.assert_rows()

    def assert_rows(self) -> None:
        assert comparable(stored_rows(self.service_url)) == comparable(self.log.naive_rows())
        assert trial_balance_micro(self.service_url) == 0

    def cut_connections(self, application_name: str) -> int:
        """As a restart of the database or a firewall does. Returns how many there were."""
        with psycopg.connect(self.service_url, autocommit=True) as connection:
            return connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = %s AND datname = current_database()",
                (application_name,),
            ).rowcount


async def eventually(condition: Callable[[], bool], what: str) -> None:
    """Raises AssertionError when it does not come true."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110 - what is waited for raises no event
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"{what} did not happen") from None
