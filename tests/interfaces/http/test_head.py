"""HEAD answers what GET does, without the content."""

import httpx
import pytest

from infrastructure.embedded.servers import EmbeddedServers
from tests.support.api import Api, Person, running_api, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

GETS = [
    *("/livez", "/readyz", "/health", "/docs", "/openapi.json", "/chat/models"),
    *("/billing/packages", "/auth/me", "/chat/status", "/chat/history", "/chat/conversations"),
    *("/billing/balance", "/billing/transactions", "/billing/transactions?format=csv"),
    *("/billing/balance?at=2026", "/chat/history?lmit=1", "/nowhere", "/billing/receipts/x"),
]
# Of one request alone, or of the moment.
_OWN = {"x-request-id", "date", "x-ratelimit-remaining", "x-ratelimit-reset"}


def comparable(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name not in _OWN}


@pytest.mark.parametrize("path", GETS)
async def test_head_has_the_status_and_headers_of_get_and_nothing_else(
    somebody: Person, path: str
) -> None:
    got = await somebody.get(path)
    headed = await somebody.ask("HEAD", path)

    assert headed.status_code == got.status_code
    assert comparable(headed) == comparable(got)
    assert headed.content == b""


async def test_head_is_right_over_a_socket_too(api: Api, somebody: Person) -> None:
    async with serving(api) as url, httpx.AsyncClient(base_url=url) as client:
        for path in ("/livez", "/health", "/billing/balance", "/billing/transactions?format=csv"):
            got = await client.get(path, headers=somebody.headers)
            headed = await client.head(path, headers=somebody.headers)
            # The connection is good for another request, so nothing was left over on it.
            again = await client.get("/livez")
            assert (headed.status_code, headed.content) == (got.status_code, b"")
            assert headed.headers.get("Content-Length") == got.headers.get("Content-Length")
            assert again.json() == {"status": "ok"}


async def test_head_asks_who_it_is(api: Api) -> None:
    response = await api.client.head("/billing/balance")

    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


async def test_head_counts_as_a_request(
    embedded_servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("head")
    async with running_api(embedded_servers, folder, rate_limit_per_minute=3) as api:
        person = await api.person()
        statuses = [(await person.ask("HEAD", "/auth/me")).status_code for _ in range(4)]

    assert statuses == [200, 200, 200, 429]


@pytest.mark.parametrize("path", ["/chat/message", "/billing/add", "/auth/login"])
async def test_head_is_not_possible_where_get_is_not(somebody: Person, path: str) -> None:
    response = await somebody.ask("HEAD", path)

    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"


async def test_what_is_possible_names_head(somebody: Person) -> None:
    response = await somebody.ask("DELETE", "/billing/balance")

    assert response.headers["Allow"] == "GET, HEAD"
