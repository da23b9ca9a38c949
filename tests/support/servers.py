"""One embedded pair for a whole test run, and a database of its own for each test."""

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from infrastructure.embedded.cluster import OWNER, restrict_database
from infrastructure.embedded.servers import EmbeddedServers, EmbeddedSettings

# Never used up: NATS adds up what streams may hold without taking the room on the disk.
_STREAMS_BYTES_MAX = 2**42


class DatabaseUrls(NamedTuple):
    owner: str
    service: str


@contextmanager
def running_servers() -> Iterator[EmbeddedServers]:
    """A pair in a folder under the system's temporary folder, removed afterwards."""
    data_dir = Path(tempfile.mkdtemp(prefix="chatledger-tests-"))
    try:
        # Every test has a stream of its own, which NATS counts with the most that it may hold.
        settings = EmbeddedSettings(
            data_dir=data_dir, nats_stream="*", nats_store_bytes_max=_STREAMS_BYTES_MAX
        )
        with EmbeddedServers.start(settings, ignore) as servers:
            yield servers
    finally:
        shutil.rmtree(data_dir)


def ignore(text: str) -> None:
    """Takes the place of a progress bar."""


def fresh_database(servers: EmbeddedServers, name: str) -> DatabaseUrls:
    """An empty database like the service's own: the owner's, and open to the two roles."""
    with psycopg.connect(servers.superuser_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(
                sql.Identifier(name), sql.Identifier(OWNER)
            )
        )
        restrict_database(connection, name)
    return DatabaseUrls(
        owner=with_database(servers.owner_database_url, name),
        service=with_database(servers.service_database_url, name),
    )


def drop_database(servers: EmbeddedServers, name: str) -> None:
    """Works even if a test has left connections open."""
    with psycopg.connect(servers.superuser_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )


def with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def fresh_name(kind: str) -> str:
    """A name that no other test uses: letters, digits and underscores, lower case."""
    return f"{kind}_{secrets.token_hex(6)}"
