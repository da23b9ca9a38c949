from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from psycopg import AsyncConnection

from tests.projections.log import Log, open_log
from tests.support.servers import DatabaseUrls


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
