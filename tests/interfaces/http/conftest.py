"""One API for all tests of a module, which shares its event loop; every test brings its own
people."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from infrastructure.embedded.servers import EmbeddedServers
from tests.support.api import Api, Person, running_api


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(
    embedded_servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    async with running_api(embedded_servers, tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def person(api: Api) -> Person:
    """Somebody with the welcome credits: 100."""
    return await api.person()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def somebody(api: Api) -> Person:
    """The same person for all tests of a module."""
    return await api.person()


@pytest_asyncio.fixture(loop_scope="module")
async def careful(somebody: Person) -> AsyncIterator[Person]:
    """Somebody whose credits are the same after the test, to the last micro-credit."""
    before = (await somebody.get("/billing/balance")).content
    yield somebody
    await somebody.api.settled()
    assert (await somebody.get("/billing/balance")).content == before
