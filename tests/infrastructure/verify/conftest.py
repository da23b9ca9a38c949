from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from infrastructure.embedded.servers import EmbeddedServers
from tests.infrastructure.checkpoints.signing import Signing
from tests.infrastructure.verify.books import Books
from tests.projections.log import open_log
from tests.support.servers import DatabaseUrls


@pytest.fixture
async def books(
    database: DatabaseUrls, embedded_servers: EmbeddedServers, stream_prefix: str, tmp_path: Path
) -> AsyncIterator[Books]:
    """A log with checkpoints and read models, which verifies."""
    with open_log(database) as log:
        signing = Signing(database, embedded_servers.nats_url, stream_prefix, tmp_path)
        books = Books(database, embedded_servers, log, signing)
        await books.grow(71, 150)
        await books.grow(72, 100)
        yield books
        await signing.stop_all()
