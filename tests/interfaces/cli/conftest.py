from collections.abc import Iterator

import pytest

from infrastructure.embedded.servers import EmbeddedServers
from tests.interfaces.cli.operator import Operator
from tests.projections.log import open_log
from tests.projections.random_history import RandomHistory
from tests.support.servers import drop_database, fresh_database, fresh_name


@pytest.fixture
def nats_url(embedded_servers: EmbeddedServers) -> str:
    return embedded_servers.nats_url


@pytest.fixture(scope="module")
def operator(
    embedded_servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    """On a log of several users, and of one that was registered at the command line."""
    name = fresh_name("books")
    urls = fresh_database(embedded_servers, name)
    operator = Operator(urls, embedded_servers.nats_url, tmp_path_factory.mktemp("books"))
    with open_log(urls) as log:
        log.append(RandomHistory(51).commits(200))
        operator.log = log.events
    made = operator.run("users", "create-admin", "ada", "ada@example.com", stdin="a password\n")
    assert made.status == 0, made.errors
    yield operator
    drop_database(embedded_servers, name)
