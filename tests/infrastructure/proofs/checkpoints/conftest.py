from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from infrastructure.embedded.servers import EmbeddedServers
from tests.infrastructure.proofs.checkpoints.signing import Signing
from tests.projections.log import Log
from tests.support.servers import DatabaseUrls


@pytest.fixture
async def signing(
    database: DatabaseUrls,
    event_log: Log,  # the schema is there
    embedded_servers: EmbeddedServers,
    stream_prefix: str,
    tmp_path: Path,
) -> AsyncIterator[Signing]:
    """The test starts what it needs; everything is stopped at its end."""
    signing = Signing(database, embedded_servers.nats_url, stream_prefix, tmp_path)
    yield signing
    await signing.stop_all()
