from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infrastructure.backup.dump import backup
from infrastructure.embedded.servers import EmbeddedServers
from tests.projections.log import Log, open_log
from tests.projections.random_history import RandomHistory
from tests.support.servers import DatabaseUrls, drop_database, fresh_database, fresh_name

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def watch(_fraction: float) -> None:
    """Takes the place of a progress bar."""


def say(_step: str) -> None:
    """Takes the place of what a command prints."""


@pytest.fixture(scope="package")
def log(embedded_servers: EmbeddedServers) -> Iterator[tuple[DatabaseUrls, Log]]:
    name = fresh_name("backup")
    urls = fresh_database(embedded_servers, name)
    with open_log(urls) as opened:
        opened.append(RandomHistory(61).commits(200))
        yield urls, opened
    drop_database(embedded_servers, name)


@pytest.fixture(scope="package")
def made(log: tuple[DatabaseUrls, Log], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("backup") / "ledger.backup"
    backup(log[0].owner, path, NOW, watch)
    return path
