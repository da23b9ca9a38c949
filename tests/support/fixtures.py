"""Fixtures for `tests/conftest.py` to import. None of them is automatic."""

from collections.abc import Iterator

import pytest

from infrastructure.embedded.servers import EmbeddedServers
from tests.support.servers import (
    DatabaseUrls,
    drop_database,
    fresh_database,
    fresh_name,
    running_servers,
)

__all__ = ["database", "embedded_servers", "stream_prefix"]


@pytest.fixture(scope="session")
def embedded_servers() -> Iterator[EmbeddedServers]:
    """PostgreSQL and NATS for the whole run. Do not stop them: use a pair of your own for that."""
    with running_servers() as servers:
        yield servers


@pytest.fixture
def database(embedded_servers: EmbeddedServers) -> Iterator[DatabaseUrls]:
    """An empty database for one test: `owner` for migrations, `service` for everything else."""
    name = fresh_name("test")
    yield fresh_database(embedded_servers, name)
    drop_database(embedded_servers, name)


@pytest.fixture
def stream_prefix() -> str:
    """A prefix for the names of JetStream streams and subjects of one test."""
    return fresh_name("test")
