"""A whole ledger for one test, and an attacker who owns its database."""

import asyncio

import psycopg
from psycopg import AsyncConnection

from infrastructure.embedded.servers import EmbeddedServers
from infrastructure.log.reader import ReadBounds, read_log
from infrastructure.proofs.checkpoints.signing_key import PublicKey
from infrastructure.proofs.verify.report import Difference, PartReport
from infrastructure.proofs.verify.verification import verify
from infrastructure.read_models.rebuild.shadow_tables import ReplayBounds
from infrastructure.read_models.writer import ProjectionWriter
from projections.registry import PROJECTIONS
from tests.infrastructure.proofs.checkpoints.signing import Signing
from tests.projections.log import Log
from tests.projections.random_history import RandomHistory
from tests.support.keys import EVENT_MACS, LEDGER_KEYS
from tests.support.servers import DatabaseUrls, with_database

LOG_TABLES = ("ledger_events", "links", "tree_nodes", "checkpoints", "identity")


class Books:
    def __init__(
        self, urls: DatabaseUrls, servers: EmbeddedServers, log: Log, signing: Signing
    ) -> None:
        self.urls = urls
        self.log = log
        self.signing = signing
        self.nats_url = servers.nats_read_url
        self._superuser_url = servers.superuser_url
        self.progress: list[tuple[str, float]] = []

    async def grow(self, seed: int, commits: int) -> None:
        """Adds events, and returns when they are signed and projected."""
        await asyncio.to_thread(self.log.append, RandomHistory(seed).commits(commits))
        await self.signing.start()
        await self.signing.assert_signed_up_to(self.log.head)
        await self.signing.stop_all()
        await self.project()

    async def project(self) -> None:
        async with await AsyncConnection.connect(self.urls.service, autocommit=True) as connection:
            writer = await ProjectionWriter.open(connection, PROJECTIONS, EVENT_MACS)
            bounds = ReadBounds(events_max=200)
            while events := await read_log(connection, after=writer.position, bounds=bounds):
                await writer.write(events)

    def tamper(self, *statements: str) -> None:
        """Changes rows as a superuser, with every trigger of the log switched off."""
        with psycopg.connect(self.urls.service) as connection:
            database = connection.info.dbname
        url = with_database(self._superuser_url, database)
        with psycopg.connect(url) as connection:
            for switch in ("DISABLE", "ENABLE"):
                for table in LOG_TABLES:
                    connection.execute(f"ALTER TABLE ledger.{table} {switch} TRIGGER USER".encode())
                for statement in statements if switch == "DISABLE" else ():
                    assert connection.execute(statement.encode()).rowcount != 0, statement

    async def verify(
        self, keys: list[PublicKey] | None = None, bounds: ReplayBounds | None = None
    ) -> list[PartReport]:
        return await verify(
            self.urls.service,
            self.nats_url,
            self.signing.settings,
            [self.signing.key.public] if keys is None else keys,
            LEDGER_KEYS,
            on_progress=lambda part, done: self.progress.append((part, done)),
            bounds=bounds,
        )

    async def differences(self, bounds: ReplayBounds | None = None) -> dict[str, list[Difference]]:
        """The differences by part, for the parts that have any."""
        return {
            part.name: part.findings.differences
            for part in await self.verify(bounds=bounds)
            if part.findings.count
        }
