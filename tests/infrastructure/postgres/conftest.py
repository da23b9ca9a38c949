import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from psycopg import AsyncConnection

from infrastructure.embedded.servers import EmbeddedServers
from infrastructure.postgres.log_reader import read_log
from infrastructure.postgres.migrate import migrate
from infrastructure.postgres.projection_writer import ProjectionWriter
from infrastructure.postgres.read_models import PostgresReadModels
from projections.registry import PROJECTIONS
from tests.infrastructure.postgres.commit_store import Store, commit, event
from tests.infrastructure.postgres.told import EVERYTHING, LIMITS, Told
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


async def _project(service_url: str) -> None:
    async with await AsyncConnection.connect(service_url, autocommit=True) as connection:
        writer = await ProjectionWriter.open(connection, PROJECTIONS, EVENT_MACS)
        await writer.write(await read_log(connection, after=0, bounds=EVERYTHING))
