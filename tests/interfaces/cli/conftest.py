import pytest

from infrastructure.embedded.servers import EmbeddedServers


@pytest.fixture
def nats_url(embedded_servers: EmbeddedServers) -> str:
    return embedded_servers.nats_read_url
