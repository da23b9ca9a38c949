"""Query parameters: known ones alone, each once and with a value."""

import pytest
from fastapi.routing import APIRoute

from interfaces.http.auth.routes import router as auth
from interfaces.http.billing.routes import router as billing
from interfaces.http.chat.routes import router as chat
from interfaces.http.health.routes import router as health
from interfaces.http.performance.routes import router as performance
from interfaces.http.routing import ExactRoute
from tests.interfaces.http.problem import check_problem
from tests.support.api import Api, Person

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPERATIONS = [
    (min(route.methods or ()), route.path.replace("{", "").replace("}", ""))
    for router in (auth, billing, chat, health, performance)
    for route in router.routes
    if isinstance(route, APIRoute)
]


async def test_every_route_is_one_that_looks_at_its_query() -> None:
    for router in (auth, billing, chat, health, performance):
        assert all(isinstance(route, ExactRoute) for route in router.routes)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_an_unknown_parameter_is_refused_by_every_route(
    careful: Person, method: str, path: str
) -> None:
    response = await careful.ask(method, path, params={"nobody_knows": "1"})

    check_problem(response, 422, code="validation_error")
    assert response.json()["errors"][0]["field"] == "nobody_knows"


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/static-offline-docs/swagger-ui.css"])
async def test_the_documentation_has_no_parameters(api: Api, path: str) -> None:
    response = await api.client.get(path, params={"nobody_knows": "1"})

    check_problem(response, 422, code="validation_error")
    assert (await api.client.get(path)).status_code == 200


@pytest.mark.parametrize(
    ("path", "name", "nearest"),
    [
        ("/chat/history", "lmit", "limit"),
        ("/chat/history", "Limit", "limit"),
        ("/chat/history", "conversationId", "conversation_id"),
        ("/billing/transactions", "from", None),
        ("/billing/transactions", "types", "type"),
        ("/billing/transactions", "cursors", "cursor"),
        ("/billing/balance", "a", "at"),
        ("/billing/balance", " at", "at"),
    ],
)
async def test_a_misspelt_parameter_is_told_its_name(
    careful: Person, path: str, name: str, nearest: str | None
) -> None:
    response = await careful.get(path, params={name: "1"})

    check_problem(response, 422)
    [wrong] = response.json()["errors"]
    assert wrong["field"] == name
    if nearest is not None:
        assert f"did you mean {nearest}?" in wrong["detail"]


async def test_a_route_without_parameters_says_so(careful: Person) -> None:
    response = await careful.get("/chat/models", params={"limit": "1"})

    check_problem(response, 422)
    assert "has none" in response.json()["detail"]


@pytest.mark.parametrize("query", ["limit=1&limit=2", "limit=1&limit=1", "limit=1&li%6Dit=2"])
async def test_a_parameter_that_is_given_twice_is_refused(careful: Person, query: str) -> None:
    response = await careful.get(f"/chat/history?{query}")

    check_problem(response, 422)
    assert "limit: is given 2 times" in response.json()["detail"]


@pytest.mark.parametrize("query", ["q=", "q", "model=", "limit=", "at=", "=", "=1", "&q=&"])
async def test_a_parameter_without_a_value_is_refused(careful: Person, query: str) -> None:
    path = "/billing/balance" if query.startswith("at") else "/chat/history"

    check_problem(await careful.get(f"{path}?{query}"), 422)


async def test_long_and_many_parameters_are_not_repeated_to_the_client(careful: Person) -> None:
    query = "&".join(f"{'x' * 200}{number}=1" for number in range(50))

    response = await careful.get(f"/chat/history?{query}")

    check_problem(response, 422)
    assert len(response.content) < 4000


async def test_times_are_date_times_in_the_schema(api: Api) -> None:
    paths = (await api.client.get("/openapi.json")).json()["paths"]

    for path, name in (("/billing/balance", "at"), ("/chat/history", "until")):
        [found] = [p for p in paths[path]["get"]["parameters"] if p["name"] == name]
        assert {"type": "string", "format": "date-time"} in found["schema"]["anyOf"]


async def test_known_parameters_pass(api: Api, careful: Person) -> None:
    response = await careful.get("/chat/history?limit=1&q=Hello&")

    assert response.status_code == 200
    assert (await api.client.get("/livez")).status_code == 200
