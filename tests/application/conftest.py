from collections.abc import AsyncIterator, Iterator

import pytest

from infrastructure.database.migrate import migrate
from tests.application.world import World
from tests.support.database_proxy import DatabaseProxy
from tests.support.servers import DatabaseUrls


@pytest.fixture
def migrated(database: DatabaseUrls) -> DatabaseUrls:
    migrate(database.owner, database.service)
    return database


@pytest.fixture
async def world(migrated: DatabaseUrls) -> AsyncIterator[World]:
    """Every test that uses it ends with a check of the books."""
    opened = World(migrated)
    yield opened
    await opened.close()
    opened.check_books()


@pytest.fixture
def proxy(migrated: DatabaseUrls) -> Iterator[DatabaseProxy]:
    """A proxy before the test's database, which can be cut off."""
    with DatabaseProxy(migrated.service) as opened:
        yield opened
