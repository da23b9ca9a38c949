"""Refusals of a request that is well formed: not enough credits, not ready, too often, not here."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from application.chat.inference import ModelState
from application.chat.inference_errors import (
    EngineBusy,
    GenerationTimedOut,
    InferenceError,
    ModelUnavailable,
    NumbersNotFinite,
    OutOfMemory,
    OwnerBusy,
)
from application.chat.quotas import QuotaExhausted
from infrastructure.embedded.servers import EmbeddedServers
from interfaces.http.problems import describe
from tests.support.api import JWT_SECRET, PASSWORD, Api, Person, running_api
from tests.support.scripted_engine import script

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def frugal(embedded_servers: EmbeddedServers, tmp_path: Path) -> AsyncIterator[Api]:
    """Three welcome credits, five requests a minute, three attempts to sign in."""
    async with running_api(
        embedded_servers,
        tmp_path,
        welcome_credits="3.000001",
        rate_limit_per_minute=5,
        sign_in_failures_max=3,
    ) as running:
        yield running


async def test_who_has_too_little_is_told_how_much_there_is_and_how_much_it_takes(
    frugal: Api,
) -> None:
    person = await frugal.person()
    await person.say()

    response = await person.post("/chat/message", {"message": "Another"})

    assert response.status_code == 402
    assert response.headers["Content-Type"] == "application/problem+json"
    assert '"available":1.000001,"required":2' in response.text
    assert response.json() | {"request_id": "", "detail": ""} == {
        "type": "about:blank",
        "title": "Not enough credits",
        "status": 402,
        "detail": "",
        "code": "insufficient_credits",
        "request_id": "",
        "available": 1.000001,
        "required": 2,
    }


async def test_what_costs_nothing_has_a_quota_that_paid_messages_are_not_measured_by(
    embedded_servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with running_api(embedded_servers, tmp_path, free_writes_per_hour=3) as api:
        person = await api.person()
        answer = await person.say("Hello", temperature=0)
        path = f"/chat/conversations/{answer['conversation_id']}"
        assert (await person.say("Hello", temperature=0))["cost"] == 0
        for title in ("One", "Two"):
            assert (await person.ask("PATCH", path, json={"title": title})).status_code == 204
        for refused in (
            await person.ask("PATCH", path, json={"title": "Three"}),
            await person.ask("DELETE", path),
            await person.post("/chat/message", {"message": "Hello", "temperature": 0}),
        ):
            assert refused.status_code == 429
            assert refused.json()["code"] == "free_writes_exhausted"
            assert 1000 < int(refused.headers["Retry-After"]) <= 1200
        assert (await person.say("Something else"))["cost"] == 2
        assert await person.available() == 96


async def test_the_registrations_of_one_address_in_a_minute_are_bounded(
    embedded_servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with running_api(embedded_servers, tmp_path, registrations_per_minute=2) as api:
        for _ in range(2):
            await api.person()
        body = {"username": "third", "email": "third@example.com", "password": PASSWORD}
        refused = await api.client.post("/auth/register", json=body)

    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 60


async def test_too_many_requests_are_told_when_to_come_back(frugal: Api) -> None:
    person = await frugal.person()
    responses = [await person.get("/auth/me") for _ in range(6)]

    assert [response.status_code for response in responses] == [200] * 5 + [429]
    assert [response.headers["X-RateLimit-Remaining"] for response in responses] == [
        *("4", "3", "2", "1", "0", "0")
    ]
    refused = responses[-1]
    assert refused.json()["code"] == "rate_limited"
    assert refused.headers["X-RateLimit-Limit"] == "5"
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    # Another person's requests are counted apart.
    assert (await (await frugal.person()).get("/auth/me")).status_code == 200


@pytest.mark.parametrize("form", [False, True])
async def test_passwords_cannot_be_tried_without_end(frugal: Api, form: bool) -> None:
    async def attempt(name: str) -> httpx.Response:
        body = {"username": name, "password": "a wrong one"}
        if form:
            return await frugal.client.post("/auth/token", data=body)
        return await frugal.client.post("/auth/login", json=body)

    statuses = [(await attempt(name)).status_code for name in ("eve", "EVE", "eve", "Eve")]

    assert statuses == [401, 401, 401, 429]
    assert (await attempt("mallory")).status_code == 401


async def test_a_model_that_failed_is_not_available(api: Api, person: Person) -> None:
    api.engine.state = ModelState.FAILED
    try:
        response = await person.post("/chat/message", {"message": "Hi"})
        status = (await person.get("/chat/status")).json()
        ready = await api.client.get("/readyz")
    finally:
        api.engine.state = ModelState.READY

    assert (response.status_code, response.json()["code"]) == (503, "model_unavailable")
    assert response.headers["Retry-After"]
    assert status["ready"] is False
    assert ready.status_code == 503


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InferenceError("the model broke off"), 503, "generation_failed"),
        (NumbersNotFinite(), 503, "generation_failed"),
        (OutOfMemory(), 503, "generation_failed"),
        (GenerationTimedOut(timeout_s=9), 504, "generation_failed"),
        (EngineBusy(retry_after_s=7), 503, "engine_busy"),
    ],
)
async def test_an_answer_that_fails_is_a_503_or_504_and_costs_nothing(
    api: Api, person: Person, error: Exception, status: int, code: str
) -> None:
    api.engine.script_next(script("Some ", error))

    response = await person.post("/chat/message", {"message": "Hi"})

    assert (response.status_code, response.json()["code"]) == (status, code)
    if code == "engine_busy":
        assert response.headers["Retry-After"] == "7"
    assert await person.available() == 100


@pytest.mark.parametrize("max_tokens", [1, 5])
async def test_an_answer_of_nothing_is_an_answer_that_costs_nothing(
    api: Api, person: Person, max_tokens: int
) -> None:
    api.engine.script_next(script(" ", "\n"))
    body = {"message": "Hi", "max_tokens": max_tokens}
    headers = {"Idempotency-Key": "k"}

    response = await person.post("/chat/message", body, headers=headers)

    assert response.status_code == 200
    answer = response.json()
    assert (answer["response"], answer["cost"]) == ("", 0)
    assert answer["finish_reason"] == ("length" if max_tokens == 1 else "stop")
    assert answer["balance"] == {"available": 100, "held": 0}
    again = await person.post("/chat/message", body, headers=headers)
    assert (again.status_code, again.content) == (200, response.content)
    receipt = (await person.get(f"/billing/receipts/{answer['message_id']}")).json()
    assert (receipt["charged"], receipt["released"], receipt["held"]) == (0, 2, 2)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InferenceError("the model broke off"), 503),
        (RuntimeError("a bug"), 503),
        (GenerationTimedOut(timeout_s=1), 504),
        (ModelUnavailable("not now"), 503),
        (EngineBusy(retry_after_s=7), 503),
        (OutOfMemory(), 503),
    ],
)
async def test_whatever_is_our_failure_says_when_to_come_back(
    api: Api, person: Person, error: Exception, status: int
) -> None:
    api.engine.script_next(script("Some ", error))

    response = await person.post("/chat/message", {"message": "Hi"})

    assert response.status_code == status
    assert int(response.headers["Retry-After"]) >= 1
    assert response.json()["retry_after_s"] == int(response.headers["Retry-After"])
    assert await person.available() == 100


async def test_a_refused_quota_and_an_own_crowd_are_429_with_when_to_come_back() -> None:
    for error, code in (
        (OwnerBusy(retry_after_s=3, why="5 of your messages wait"), "too_many_messages"),
        (QuotaExhausted("free_writes_exhausted", "no", retry_after_s=3), "free_writes_exhausted"),
    ):
        status, document, headers = describe(error, "r")
        assert (status, document["code"], headers["Retry-After"]) == (429, code, "3")


async def test_a_defect_is_a_500_that_tells_nothing_of_the_inside(api: Api, person: Person) -> None:
    @api.app.get("/defect")
    async def defect() -> None:
        raise RuntimeError("secret details")

    response = await person.get("/defect")

    assert response.status_code == 500
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == "internal_error"
    assert response.json()["request_id"] == response.headers["X-Request-ID"]
    assert "secret" not in response.text


async def test_a_defect_is_logged_once_and_not_thrown_at_the_server(api: Api) -> None:
    @api.app.get("/another-defect")
    async def defect() -> None:
        raise RuntimeError("secret details")

    with capture_logs() as logged:
        transport = httpx.ASGITransport(app=api.app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            response = await client.get("/another-defect")

    assert response.status_code == 500
    assert [(line["event"], line.get("status")) for line in logged] == [
        ("unexpected_error", None),
        ("request", 500),
    ]
    assert logged[0]["request_id"] == response.headers["X-Request-ID"]


async def test_production_gives_no_credits_away(
    embedded_servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with running_api(
        embedded_servers, tmp_path, environment="production", secret_key=JWT_SECRET
    ) as production:
        person = await production.person()

        response = await person.post("/billing/add", {"amount": 5})

        assert (response.status_code, response.json()["code"]) == (403, "not_permitted")
        assert (await production.client.get("/billing/packages")).json()["development"] is False
        assert await person.available() == 100
        admin: dict[str, Any] = {"username": "admin", "password": "Admin123!"}
        assert (await production.client.post("/auth/login", json=admin)).status_code == 401


async def test_development_has_the_documented_administrator(api: Api) -> None:
    tokens = await api.sign_in("admin", "Admin123!")

    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await api.client.get("/auth/me", headers=headers)).json()["role"] == "admin"
