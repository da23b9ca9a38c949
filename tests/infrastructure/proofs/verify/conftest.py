import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from domain.events import Event
from infrastructure.embedded.cluster import OWNER, restrict_database
from infrastructure.embedded.servers import EmbeddedServers
from tests.infrastructure.proofs.checkpoints.signing import Signing
from tests.infrastructure.proofs.verify.books import Books
from tests.projections.log import open_log
from tests.support.servers import (
    DatabaseUrls,
    drop_database,
    fresh_database,
    fresh_name,
    with_database,
)


@dataclass(frozen=True)
class Original:
    """database: its name; nobody is connected to it. folder: with its key and checkpoints."""

    database: str
    folder: Path
    events: list[tuple[int, Event]]


@pytest.fixture(scope="package")
def original(
    embedded_servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Original]:
    """A log with checkpoints and read models that passes verification; copied for every test."""
    name, folder = fresh_name("original"), tmp_path_factory.mktemp("original")
    urls = fresh_database(embedded_servers, name)
    with open_log(urls) as log:
        signing = Signing(urls, embedded_servers.nats_url, name, folder)
        books = Books(urls, embedded_servers, log, signing)

        async def fill() -> None:
            await books.grow(71, 150)
            await books.grow(72, 100)

        asyncio.run(fill())
        events = log.events
    yield Original(name, folder, events)
    drop_database(embedded_servers, name)


@pytest.fixture
async def books(
    original: Original, embedded_servers: EmbeddedServers, stream_prefix: str, tmp_path: Path
) -> AsyncIterator[Books]:
    name = fresh_name("test")
    with psycopg.connect(embedded_servers.superuser_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                *map(sql.Identifier, (name, original.database, OWNER))
            )
        )
        restrict_database(connection, name)
    urls = DatabaseUrls(
        owner=with_database(embedded_servers.owner_database_url, name),
        service=with_database(embedded_servers.service_database_url, name),
    )
    folder = tmp_path / "books"
    shutil.copytree(original.folder, folder)
    with open_log(urls) as log:
        log.events = list(original.events)
        signing = Signing(urls, embedded_servers.nats_url, stream_prefix, folder)
        await signing.publish(signing.in_file())
        yield Books(urls, embedded_servers, log, signing)
        await signing.stop_all()
    drop_database(embedded_servers, name)
