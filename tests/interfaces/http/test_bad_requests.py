"""Bad input is answered with a problem document and moves no credit. Here: whatever is no body."""

from typing import Any
from uuid import UUID

import pytest

from tests.interfaces.http.problem import NOWHERE, check_problem
from tests.support.api import PASSWORD, Api, Person

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/chat/history", {"limit": "0"}),
        ("/chat/history", {"limit": "-1"}),
        ("/chat/history", {"limit": "201"}),
        ("/chat/history", {"limit": "1" + "0" * 5000}),
        ("/chat/history", {"limit": "many"}),
        ("/chat/history", {"limit": "1.5"}),
        ("/chat/history", {"limit": ""}),
        ("/chat/history", {"cursor": ""}),
        ("/chat/history", {"cursor": "garbage"}),
        ("/chat/history", {"cursor": "LTU"}),
        ("/chat/history", {"cursor": "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5"}),
        ("/chat/history", {"cursor": "ü"}),
        ("/chat/history", {"cursor": "\x00"}),
        ("/chat/history", {"cursor": "x" * 65}),
        ("/chat/history", {"cursor": "A"}),
        ("/chat/history", {"conversation_id": "x"}),
        ("/chat/history", {"since": "yesterday"}),
        ("/chat/history", {"since": "2026-01-01T00:00:00"}),
        ("/chat/history", {"since": "2026-01-01"}),
        ("/chat/history", {"since": "2026-13-01T00:00:00Z"}),
        ("/chat/history", {"since": "10000-01-01T00:00:00Z"}),
        ("/chat/history", {"since": "0000-01-01T00:00:00Z"}),
        ("/chat/history", {"since": "0001-01-01T00:00:00+23:59"}),
        ("/chat/history", {"until": "9999-12-31T23:59:59-23:59"}),
        ("/chat/history", {"since": "1e400"}),
        ("/chat/history", {"until": ""}),
        ("/chat/history", {"q": "a\x00b"}),
        ("/chat/history", {"q": "x" * 201}),
        ("/chat/history", {"model": "m" * 101}),
        ("/chat/history", {"model": "\x00"}),
        ("/chat/conversations", {"limit": "0"}),
        ("/chat/conversations", {"cursor": "!!!"}),
        ("/billing/transactions", {"type": "gift"}),
        ("/billing/transactions", {"type": ""}),
        ("/billing/transactions", {"format": "xml"}),
        ("/billing/transactions", {"limit": "1000"}),
        ("/billing/transactions", {"cursor": "e30="}),
        ("/billing/transactions", {"since": "2026-01-01T00:00:00"}),
        ("/billing/transactions", {"since": "0001-01-01T00:00:00+14:00"}),
        ("/billing/balance", {"at": "2026-01-01T00:00:00"}),
        ("/billing/balance", {"at": "now"}),
        ("/billing/balance", {"at": "0001-01-01T00:00:00+23:59"}),
        ("/billing/balance", {"at": "9999-12-31T23:59:59-23:59"}),
        ("/billing/balance", {"at": "2026-01-01T00:00:00+99:99"}),
    ],
    ids=lambda value: repr(value)[:60],
)
async def test_a_query_that_cannot_be_answered(
    careful: Person, path: str, query: dict[str, str]
) -> None:
    check_problem(await careful.get(path, params=query), 422)


@pytest.mark.parametrize("at", ["99999999999999", "-62135596800", "1767225600", "1e3"])
async def test_seconds_since_1970_are_no_time_of_this_api_or_are_understood(
    careful: Person, at: str
) -> None:
    response = await careful.get("/billing/balance", params={"at": at})

    assert response.status_code in (200, 422), response.text


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "é".encode(), "\x7f", b"\xff"])
@pytest.mark.parametrize("path", ["/chat/message", "/billing/add", "/auth/register"])
async def test_an_idempotency_key_that_is_none(careful: Person, path: str, key: Any) -> None:
    value = key if isinstance(key, bytes) else key.encode("latin-1")
    headers = [
        (b"Idempotency-Key", value),
        (b"Authorization", careful.headers["Authorization"].encode()),
    ]
    body = {
        "/chat/message": {"message": "Hi"},
        "/billing/add": {"amount": 5},
        "/auth/register": {"username": "eve", "email": "eve@example.com", "password": PASSWORD},
    }[path]

    response = await careful.api.client.post(path, json=body, headers=headers)

    check_problem(response, 422, code="invalid_header")
    assert "Idempotency-Key" in response.json()["detail"]


@pytest.mark.parametrize(
    "position", ["abc", "-1", "1.5", "", " ", "1e3", "²", "9" * 19, "9" * 5000]
)
@pytest.mark.parametrize(
    "path", ["/billing/balance", "/billing/transactions", "/chat/history", "/chat/conversations"]
)
async def test_a_position_that_is_none(careful: Person, path: str, position: str) -> None:
    headers = {"Ledger-Position": position.encode("latin-1")}

    response = await careful.get(path, headers=headers)

    check_problem(response, 422, code="invalid_header")


@pytest.mark.parametrize("request_id", ["x" * 65, "a b", "<script>", "é", ""])
async def test_a_request_id_that_is_none_is_replaced(api: Api, request_id: str) -> None:
    response = await api.client.get(
        "/nowhere", headers=[(b"X-Request-ID", request_id.encode("latin-1"))]
    )

    assert UUID(response.headers["X-Request-ID"])
    assert response.json()["request_id"] == response.headers["X-Request-ID"]


async def test_a_request_id_that_is_one_is_kept(api: Api) -> None:
    response = await api.client.get("/nowhere", headers={"X-Request-ID": "trace-1.a_B"})

    assert response.headers["X-Request-ID"] == response.json()["request_id"] == "trace-1.a_B"


@pytest.mark.parametrize(
    "path",
    ["/nowhere", "/chat", "/chat/message/", "/%00", "/%ff", "/..%2f..", "/x" * 3000, "/chat/%0a"],
    ids=lambda value: value[:30],
)
async def test_a_path_that_leads_nowhere(careful: Person, path: str) -> None:
    check_problem(await careful.get(path), 404, code="not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/chat/message"),
        ("PUT", "/billing/add"),
        ("DELETE", "/billing/balance"),
        ("POST", "/billing/transactions"),
        ("PATCH", "/auth/me"),
    ],
)
async def test_a_method_that_is_not_possible_here(careful: Person, method: str, path: str) -> None:
    response = await careful.ask(method, path)

    check_problem(response, 405, code="method_not_allowed")
    assert response.headers["Allow"]


@pytest.mark.parametrize(
    "identifier", ["x", "1", "%00", NOWHERE[:-1], NOWHERE + "%0a", "..", "ü" * 10]
)
async def test_a_path_whose_id_is_none(careful: Person, identifier: str) -> None:
    for method, path in (
        ("GET", f"/billing/receipts/{identifier}"),
        ("DELETE", f"/chat/conversations/{identifier}"),
    ):
        check_problem(await careful.ask(method, path), 404, 405, 422)
