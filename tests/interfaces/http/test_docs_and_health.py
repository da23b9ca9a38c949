"""What everybody may read: the documentation, the schema, and how the service is."""

import re

import pytest

from tests.support.api import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROUTES = {
    "/auth/register": {"post"},
    "/auth/login": {"post"},
    "/auth/token": {"post"},
    "/auth/refresh": {"post"},
    "/auth/logout": {"post"},
    "/auth/me": {"get"},
    "/chat/message": {"post"},
    "/chat/quote": {"post"},
    "/chat/models": {"get"},
    "/chat/status": {"get"},
    "/chat/history": {"get"},
    "/chat/conversations": {"get"},
    "/chat/conversations/{conversation_id}": {"patch", "delete"},
    "/billing/balance": {"get"},
    "/billing/packages": {"get"},
    "/billing/add": {"post"},
    "/billing/transactions": {"get"},
    "/billing/receipts/{message_id}": {"get"},
    "/performance/optimize/memory": {"post"},
    "/livez": {"get"},
    "/readyz": {"get"},
    "/health": {"get"},
}


async def test_the_schema_names_every_route_and_what_it_needs(api: Api) -> None:
    schema = (await api.client.get("/openapi.json")).json()

    found = {path: set(methods) for path, methods in schema["paths"].items()}
    assert {path: found.get(path) for path in ROUTES} == ROUTES
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            assert operation.get("description") or operation.get("summary"), (method, path)


async def test_the_schema_names_every_form_of_an_answer(api: Api) -> None:
    schema = (await api.client.get("/openapi.json")).json()

    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            answers = operation["responses"]
            assert list(answers["default"]["content"]) == ["application/problem+json"], path
            assert "422" not in answers, (method, path)
    streamed = schema["paths"]["/chat/message"]["post"]["responses"]["200"]["content"]
    exported = schema["paths"]["/billing/transactions"]["get"]["responses"]["200"]["content"]
    assert set(streamed) == {"application/json", "text/event-stream"}
    assert set(exported) == {"application/json", "text/csv"}


async def test_credits_are_numbers_in_the_schema(api: Api) -> None:
    schema = (await api.client.get("/openapi.json")).json()

    balance = schema["components"]["schemas"]["BalanceResponse"]["properties"]
    amount = schema["components"]["schemas"]["AddCreditsRequest"]["properties"]["amount"]
    assert balance["available"]["type"] == "number"
    assert amount["anyOf"][0]["type"] == "number"


async def test_the_documentation_needs_nothing_from_elsewhere(api: Api) -> None:
    page = await api.client.get("/docs")

    assert page.status_code == 200
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert sources
    for source in sources:
        assert source.startswith("/"), source
        assert (await api.client.get(source)).status_code == 200


async def test_the_process_says_that_it_lives(api: Api) -> None:
    assert (await api.client.get("/livez")).json() == {"status": "ok"}


async def test_the_health_of_every_part_is_a_sentence(api: Api) -> None:
    health = (await api.client.get("/health")).json()
    ready = await api.client.get("/readyz")

    assert health["status"] == "ok"
    assert ready.status_code == 200
    for part in health["components"]:
        assert part["healthy"], part
        assert part["detail"]


async def test_health_tells_no_secret(api: Api) -> None:
    text = (await api.client.get("/health")).text

    assert "postgresql://" not in text
    assert "nats://" not in text
