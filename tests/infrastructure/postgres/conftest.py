import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from psycopg import AsyncConnection

from infrastructure.embedded.servers import EmbeddedServers
from infrastructure.postgres.log_reader import ReadBounds, read_log
from infrastructure.postgres.projection_writer import ProjectionWriter
from infrastructure.postgres.read_models import PostgresReadModels, ReadPoolLimits
from projections.registry import PROJECTIONS
from tests.projections.log import Log, open_log
from tests.projections.naive_tables import NaiveRow
from tests.projections.people import Person
from tests.projections.random_history import RandomHistory
from tests.support.servers import DatabaseUrls, drop_database, fresh_database, fresh_name

LIMITS = ReadPoolLimits(connections_max=2, connection_timeout_s=2)
EVERYTHING = ReadBounds(events_max=100_000, bytes_max=2**30)


@pytest.fixture
def event_log(database: DatabaseUrls) -> Iterator[Log]:
    with open_log(database) as log:
        yield log


@pytest.fixture
async def connection(
    database: DatabaseUrls,
    event_log: Log,  # the schema is there
) -> AsyncIterator[AsyncConnection[Any]]:
    """As the service's role, in autocommit."""
    async with await AsyncConnection.connect(database.service, autocommit=True) as opened:
        yield opened


@dataclass(frozen=True)
class Told:
    """A life of three users that was projected; nothing changes it any more. tables: what naive
    folding makes of it."""

    service_url: str
    history: RandomHistory
    tables: dict[str, list[NaiveRow]]

    @property
    def people(self) -> list[Person]:
        return self.history.people

    def rows(self, table: str, person: Person) -> list[NaiveRow]:
        return [row for row in self.tables[table] if row["user_id"] == person.user_id]


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
        writer = await ProjectionWriter.open(connection, PROJECTIONS)
        await writer.write(await read_log(connection, after=0, bounds=EVERYTHING))
