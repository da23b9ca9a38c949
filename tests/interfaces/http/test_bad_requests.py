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


@pytest.mark.parametrize(
    "time",
    [
        *("99999999999999", "-62135596800", "1767225600", "1e3", "20261128", "2026", "0"),
        *("2026-11-28", "2026-W48-6", "2026-332", "2026-11-28T10:00Z", "20261128T100000Z"),
        *("2026-11-28T10:00:00", "2026-11-28 10:00:00Z", "2026-11-28T24:00:00Z", "now"),
        *("2016-12-31T23:59:60Z", "-0001-01-01T00:00:00Z", "\u0662026-11-28T10:00:00Z"),
    ],
)
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/billing/balance", "at"),
        ("/billing/transactions", "since"),
        ("/billing/transactions", "until"),
        ("/chat/history", "since"),
        ("/chat/history", "until"),
    ],
)
async def test_a_time_that_is_no_rfc_3339_is_told_how_to_write_it(
    careful: Person, path: str, name: str, time: str
) -> None:
    response = await careful.get(path, params={name: time})

    check_problem(response, 422, code="validation_error")
    [wrong] = response.json()["errors"]
    assert wrong["field"] == name
    assert wrong["detail"]


@pytest.mark.parametrize("at", ["2099-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
async def test_there_is_no_balance_of_the_future(careful: Person, at: str) -> None:
    response = await careful.get("/billing/balance", params={"at": at})

    check_problem(response, 422, code="time_in_future")
    assert response.json()["errors"][0]["field"] == "at"


@pytest.mark.parametrize("path", ["/billing/transactions", "/chat/history"])
async def test_a_period_that_ends_before_it_begins_is_refused(careful: Person, path: str) -> None:
    later, earlier = "2026-03-01T00:00:00.000001Z", "2026-03-01T00:00:00Z"

    backwards = await careful.get(path, params={"since": later, "until": earlier})
    empty = await careful.get(path, params={"since": later, "until": later})

    check_problem(backwards, 422, code="invalid_period")
    assert (empty.status_code, empty.json()["items"]) == (200, [])


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "é".encode(), "\x7f", b"\xff"])
@pytest.mark.parametrize("path", ["/chat/message", "/billing/add", "/auth/register"])
async def test_text_that_is_no_idempotency_key_is_refused(
    careful: Person, path: str, key: Any
) -> None:
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
async def test_text_that_is_no_position_is_refused(
    careful: Person, path: str, position: str
) -> None:
    headers = {"Ledger-Position": position.encode("latin-1")}

    response = await careful.get(path, headers=headers)

    check_problem(response, 422, code="invalid_header")


@pytest.mark.parametrize("request_id", ["x" * 65, "a b", "<script>", "é", ""])
async def test_text_that_is_no_request_id_is_replaced(api: Api, request_id: str) -> None:
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
async def test_a_path_without_a_right_id_is_refused(careful: Person, identifier: str) -> None:
    for method, path in (
        ("GET", f"/billing/receipts/{identifier}"),
        ("DELETE", f"/chat/conversations/{identifier}"),
    ):
        check_problem(await careful.ask(method, path), 404, 405, 422)
