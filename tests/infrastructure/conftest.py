import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg import AsyncConnection

from infrastructure.database.migrate import migrate
from infrastructure.embedded.servers import EmbeddedServers
from infrastructure.log.reader import read_log
from infrastructure.read_models.queries import PostgresReadModels
from infrastructure.read_models.writer import ProjectionWriter
from projections.registry import PROJECTIONS
from tests.infrastructure.event_store.commit_store import Store, commit, event
from tests.infrastructure.read_models.told import EVERYTHING, LIMITS, Told
from tests.infrastructure.relay.own_nats import OwnNats
from tests.infrastructure.relay.running import Running
from tests.projections.log import Log, open_log
from tests.projections.random_history import RandomHistory
from tests.support.keys import EVENT_MACS
from tests.support.servers import DatabaseUrls, drop_database, fresh_database, fresh_name


@pytest.fixture
def event_log(database: DatabaseUrls) -> Iterator[Log]:
    with open_log(database) as log:
        yield log


@pytest.fixture
def migrated(database: DatabaseUrls) -> DatabaseUrls:
    migrate(database.owner, database.service)
    return database


@pytest.fixture
async def store(migrated: DatabaseUrls) -> AsyncIterator[Store]:
    opened = Store(migrated.service)
    # The first one goes alone, because the connection is made for it; the others come together.
    await opened.store(commit(event("first")))
    yield opened
    opened.close()


@pytest.fixture
async def connection(
    database: DatabaseUrls,
    event_log: Log,  # the schema is there
) -> AsyncIterator[AsyncConnection[Any]]:
    """As the service's role, in autocommit."""
    async with await AsyncConnection.connect(database.service, autocommit=True) as opened:
        yield opened


@pytest.fixture(scope="package")
def told(embedded_servers: EmbeddedServers) -> Iterator[Told]:
    name = fresh_name("told")
    urls = fresh_database(embedded_servers, name)
    with open_log(urls) as log:
        history = RandomHistory(31)
        log.append(history.commits(400))
        asyncio.run(_project(urls.service))
        yield Told(urls.service, history, log.naive_rows())
    drop_database(embedded_servers, name)


@pytest.fixture
async def read_models(told: Told) -> AsyncIterator[PostgresReadModels]:
    read_models = PostgresReadModels(told.service_url, LIMITS)
    await read_models.start()
    yield read_models
    await read_models.stop()


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[OwnNats]:
    """Started."""
    nats = OwnNats(tmp_path)
    nats.start()
    yield nats
    nats.kill()


@pytest.fixture
async def running(
    database: DatabaseUrls, event_log: Log, own_nats: OwnNats, stream_prefix: str
) -> AsyncIterator[Running]:
    """The test starts what it needs; everything is stopped at its end."""
    running = Running(database.service, own_nats.url, stream_prefix, event_log)
    yield running
    await running.stop_all()


async def _project(service_url: str) -> None:
    async with await AsyncConnection.connect(service_url, autocommit=True) as connection:
        writer = await ProjectionWriter.open(connection, PROJECTIONS, EVENT_MACS)
        await writer.write(await read_log(connection, after=0, bounds=EVERYTHING))
