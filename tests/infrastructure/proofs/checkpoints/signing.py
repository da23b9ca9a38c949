"""The checkpoint service as a test runs it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psycopg
from nats.js.errors import NotFoundError

from infrastructure.process.clock_ids import SystemClock
from infrastructure.proofs.checkpoints.file import CheckpointFile
from infrastructure.proofs.checkpoints.publisher import checkpoint_stream
from infrastructure.proofs.checkpoints.records import SignedCheckpoint
from infrastructure.proofs.checkpoints.service import CheckpointService
from infrastructure.proofs.checkpoints.settings import CheckpointSettings
from infrastructure.proofs.checkpoints.signing_key import SigningKey
from infrastructure.relay.nats_connection import RELAY_INBOX, ensure, nats_connection
from tests.infrastructure.relay.running import PATIENCE_S, QUICK, eventually
from tests.support.servers import DatabaseUrls


class Signing:
    def __init__(self, urls: DatabaseUrls, nats_url: str, stream: str, folder: Path) -> None:
        self.urls = urls
        self.nats_url = nats_url
        self.key_file = folder / "key.pem"
        self.key = SigningKey.from_file(self.key_file)
        self.settings = CheckpointSettings(
            folder=folder / "checkpoints",
            interval_s=0.05,
            links_max=7,
            published_within_s=0,
            connections=replace(QUICK, stream=stream, poll_s=0.02),
        )
        with psycopg.connect(urls.service) as connection:
            row = connection.execute("SELECT id FROM ledger.identity").fetchone()
        assert row is not None
        self.log_id = row[0]
        self.file = CheckpointFile(self.settings.folder, self.log_id)
        self._services: list[CheckpointService] = []

    async def start(self, settings: CheckpointSettings | None = None) -> CheckpointService:
        service = CheckpointService(
            self.urls.service, self.nats_url, settings or self.settings, self.key, SystemClock()
        )
        self._services.append(service)
        await service.start()
        return service

    async def stop_all(self) -> None:
        services, self._services = self._services, []
        for service in services:
            await service.stop()

    def in_file(self) -> list[SignedCheckpoint]:
        found = list(self.file)
        assert all(isinstance(record, SignedCheckpoint) for record in found), found
        return [record for record in found if isinstance(record, SignedCheckpoint)]

    def in_database(self) -> list[SignedCheckpoint]:
        with psycopg.connect(self.urls.service) as connection:
            rows = connection.execute(
                "SELECT record FROM ledger.checkpoints ORDER BY number"
            ).fetchall()
        return [SignedCheckpoint.from_line(record) for (record,) in rows]

    async def in_nats(self) -> list[SignedCheckpoint]:
        found: list[SignedCheckpoint] = []
        async with nats_connection(
            self.nats_url, name="test", inbox=RELAY_INBOX, settings=self.settings.connections
        ) as nats:
            sequence = 1
            while True:
                try:
                    message = await nats.jetstream.get_msg(self.settings.stream, sequence)
                except NotFoundError:
                    return found
                found.append(SignedCheckpoint.from_line(message.data or b""))
                sequence += 1

    async def publish(self, records: Sequence[SignedCheckpoint | bytes]) -> None:
        """Makes the stream and publishes into it, as anybody with the relay's password can."""
        config = checkpoint_stream(self.settings)
        async with nats_connection(
            self.nats_url, name="test", inbox=RELAY_INBOX, settings=self.settings.connections
        ) as nats:
            await ensure(nats.jetstream, config)
            for record in records:
                line = record if isinstance(record, bytes) else record.line.encode()
                await nats.jetstream.publish(self.settings.subject(self.log_id), line)

    async def assert_signed_up_to(self, position: int) -> None:
        await eventually(
            lambda: any(record.checkpoint.position == position for record in self.file_so_far()),
            f"a checkpoint at position {position}",
        )

    async def assert_published(self) -> None:
        """Asserts that everything in the database is published."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    if await self.in_nats() == self.in_database():
                        return
                except NotFoundError:  # the stream is not made yet
                    pass
                await asyncio.sleep(0.02)

    def file_so_far(self) -> list[SignedCheckpoint]:
        return [record for record in self.file if isinstance(record, SignedCheckpoint)]
