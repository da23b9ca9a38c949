from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.infrastructure.nats.own_nats import OwnNats
from tests.infrastructure.nats.running import Running
from tests.projections.log import Log, open_log
from tests.support.servers import DatabaseUrls


@pytest.fixture
def event_log(database: DatabaseUrls) -> Iterator[Log]:
    with open_log(database) as log:
        yield log


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
