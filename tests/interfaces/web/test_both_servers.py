"""The API and the chat page, each with the bounds on its connections."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from infrastructure.embedded.servers import EmbeddedServers
from infrastructure.settings.service import load_settings
from interfaces.cli.start.serve import _Server as ApiServer
from interfaces.cli.start.serve_page import connection_limits
from interfaces.composition.endpoints import Endpoints
from interfaces.ui.app import UiSettings, build_server
from interfaces.web.connections import ConnectionLimits, Connections
from interfaces.web.server import WebServerConfig
from tests.support.api import running_api, serving
from tests.support.service import RunningService
from tests.support.web import Web, running_server

LIMITS = ConnectionLimits(
    header_timeout_s=0.5, body_timeout_s=0.5, send_timeout_s=0.5, connections_per_address_max=20
)
LIVEZ = "/livez"


@pytest.fixture(params=["api", "page"])
async def web(
    request: pytest.FixtureRequest, embedded_servers: EmbeddedServers, tmp_path: Path
) -> AsyncIterator[tuple[Web, str]]:
    """And the path that takes a body."""
    if request.param == "api":
        async with (
            running_api(embedded_servers, tmp_path) as api,
            serving(api, LIMITS) as url,
        ):
            port = urlsplit(url).port
            assert port is not None
            web = Web(port, Connections(LIMITS))
            yield web, "/auth/login"
            for client in web.clients:
                client.writer.close()
    else:
        server = build_server(UiSettings(port=0, api_url="http://127.0.0.1:9"), LIMITS)
        assert isinstance(server.config, WebServerConfig)
        async with running_server(server, server.config.connections) as found:
            yield found, "/gradio_api/queue/join"


async def test_half_sent_requests_end_while_others_are_served(web: tuple[Web, str]) -> None:
    server, path = web
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n".encode()
    halves = [b"GE", head[:40], head + b"Content-Length: 50\r\n\r\n{", head + b"Content-Length: 9"]
    clients = [await server.connect() for _ in range(40)]
    for number, client in enumerate(clients):
        client.send(halves[number % len(halves)])

    assert (await server.get(LIVEZ)).startswith(b"HTTP/1.1 200")
    answers = await asyncio.gather(*(client.rest() for client in clients))

    # The page tells strangers at once that it takes nothing from them.
    ends = {b"HTTP/1.1 408", b"HTTP/1.1 403", b"", b"reset"}
    assert {answer[:12] for answer in answers} <= ends
    assert b"HTTP/1.1 408" in {answer[:12] for answer in answers[-10:]}
    assert (await server.get(LIVEZ)).startswith(b"HTTP/1.1 200")


def test_every_bound_on_connections_is_a_setting() -> None:
    settings = load_settings(
        _env_file=None,
        header_timeout_s=1,
        body_timeout_s=2,
        send_timeout_s=3,
        keep_alive_timeout_s=4,
        client_bytes_per_s_min=5,
        request_body_bytes_max=6,
        connections_max=7,
        connections_per_address_max=8,
        trusted_proxies="192.0.2.1, 2001:db8::/32",
    )

    limits = connection_limits(settings)

    assert list(vars(limits).values())[:8] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [str(network) for network in limits.trusted_proxies] == ["192.0.2.1/32", "2001:db8::/32"]
    defaults = connection_limits(load_settings(_env_file=None))
    assert defaults == ConnectionLimits()


def test_the_api_is_served_within_those_bounds(tmp_path: Path) -> None:
    settings = load_settings(_env_file=None, data_dir=tmp_path, connections_max=77)
    endpoints = Endpoints(owner_url="", service_url="", nats_url="")

    server = ApiServer(settings, endpoints, with_page=False, began=0)

    assert isinstance(server.config, WebServerConfig)
    assert server.config.connections.limits == connection_limits(settings)


def test_the_page_is_served_within_those_bounds(tmp_path: Path) -> None:
    service = RunningService(
        tmp_path / "data", "ui", {"HEADER_TIMEOUT_S": "0.5", "API_URL": "http://127.0.0.1:9"}
    )
    service.start(ready=False)
    try:
        half = _connected(service.ui_port)
        half.settimeout(20)
        half.sendall(b"GET / HTTP/1.1\r\n")
        with half:
            assert half.recv(100).startswith(b"HTTP/1.1 408")
    finally:
        service.stop()


def _connected(port: int) -> socket.socket:
    deadline = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
