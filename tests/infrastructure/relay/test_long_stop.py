"""Nobody projects for fifty thousand events; then somebody does."""

import asyncio
import time

import psycopg
import pytest

from benchmarks.read_models.rebuild import fill
from infrastructure.database.migrate import migrate
from infrastructure.embedded.servers import EmbeddedServers
from infrastructure.proofs.verify.read_models import verify_read_models
from infrastructure.read_models.rebuild.shadow_tables import ReplayBounds
from infrastructure.read_models.service import ProjectionService
from infrastructure.relay.settings import ProjectionSettings
from tests.support.keys import EVENT_MACS, LEDGER_KEYS
from tests.support.servers import DatabaseUrls

EVENTS = 50_000
CAUGHT_UP_WITHIN_S = 180


@pytest.fixture
def filled(database: DatabaseUrls) -> DatabaseUrls:
    migrate(database.owner, database.service)
    fill(database.owner, EVENTS)
    return database


async def test_a_consumer_that_was_stopped_for_fifty_thousand_events_has_every_row(
    filled: DatabaseUrls, embedded_servers: EmbeddedServers, stream_prefix: str
) -> None:
    settings = ProjectionSettings(stream=stream_prefix)
    service = ProjectionService(
        filled.service,
        embedded_servers.nats_url,
        settings,
        keys=LEDGER_KEYS,
        nats_read_url=embedded_servers.nats_read_url,
    )
    began = time.monotonic()
    await service.start()
    try:
        async with asyncio.timeout(CAUGHT_UP_WITHIN_S):
            while await position(filled.service) < EVENTS:  # noqa: ASYNC110 - polled
                await asyncio.sleep(0.2)
    finally:
        await service.stop()
    print(f"{EVENTS / (time.monotonic() - began):,.0f} events/s")

    bounds = ReplayBounds()
    with bounds.pool(EVENTS) as pool:
        reports = await verify_read_models(
            pool, filled.service, EVENT_MACS, bounds=bounds, on_progress=lambda *_: None
        )
    assert len(reports) > 5
    assert [report.name for report in reports if report.findings.count] == []


async def position(url: str) -> int:
    """Up to where every read model is."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        cursor = await connection.execute("SELECT min(position) FROM read.positions")
        row = await cursor.fetchone()
        return 0 if row is None or row[0] is None else int(row[0])
