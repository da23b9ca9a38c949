"""Whatever is sent: a 4xx with a problem document that says what to change, never a 500, never a
credit moved."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from tests.support.api import Api, Person

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = {"Content-Type": "application/json"}
NOWHERE = str(UUID(int=1))


@pytest_asyncio.fixture(loop_scope="module")
async def careful(person: Person) -> AsyncIterator[Person]:
    """Somebody whose credits are the same after the test, to the last micro-credit."""
    before = (await person.get("/billing/balance")).content
    yield person
    await person.api.settled()
    assert (await person.get("/billing/balance")).content == before


def check_problem(response: httpx.Response, *statuses: int, code: str | None = None) -> None:
    assert response.status_code in statuses, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code
    assert problem["request_id"] == response.headers["X-Request-ID"]
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["detail"]
    assert problem["code"]
    if code is not None:
        assert problem["code"] == code, problem


async def send(
    person: Person, path: str, body: str | bytes, method: str = "POST", **headers: str
) -> httpx.Response:
    content = body if isinstance(body, bytes) else body.encode()
    return await person.ask(method, path, content=content, headers=JSON | headers)


MESSAGES = [
    ({}, "validation_error"),
    ({"message": None}, "validation_error"),
    ({"message": 5}, "validation_error"),
    ({"message": ["Hello"]}, "validation_error"),
    ({"message": {"text": "Hello"}}, "validation_error"),
    ({"message": True}, "validation_error"),
    ({"message": ""}, "invalid_text"),
    ({"message": "   \n\t  "}, "invalid_text"),
    ({"message": "\u200b\ufeff"}, "invalid_text"),
    ({"message": "\u3000\u00a0"}, "invalid_text"),
    ({"message": "a\x00b"}, "invalid_text"),
    ({"message": "a\x1b[31mb"}, "invalid_text"),
    ({"message": "a\x7fb"}, "invalid_text"),
    ({"message": "a\x9fb"}, "invalid_text"),
    ({"message": "word " * 300}, "message_too_long"),
    ({"message": "x" * 32_001}, "invalid_text"),
    ({"message": "x" * 900_000}, "invalid_text"),
    ({"message": "Hi", "model": "gpt-9"}, "unknown_model"),
    ({"message": "Hi", "model": "../../etc/passwd"}, "unknown_model"),
    ({"message": "Hi", "model": "gemma3-270m\n"}, "validation_error"),
    ({"message": "Hi", "model": "m" * 101}, "validation_error"),
    ({"message": "Hi", "model": 3}, "validation_error"),
    ({"message": "Hi", "conversation_id": "not-a-uuid"}, "validation_error"),
    ({"message": "Hi", "conversation_id": 7}, "validation_error"),
    ({"message": "Hi", "conversation_id": NOWHERE + "0"}, "validation_error"),
    ({"message": "Hi", "max_tokens": 0}, "validation_error"),
    ({"message": "Hi", "max_tokens": -1}, "validation_error"),
    ({"message": "Hi", "max_tokens": 1.5}, "validation_error"),
    ({"message": "Hi", "max_tokens": 10**7}, "validation_error"),
    ({"message": "Hi", "max_tokens": 10**400}, "validation_error"),
    ({"message": "Hi", "max_tokens": True}, "validation_error"),
    ({"message": "Hi", "max_tokens": "lots"}, "validation_error"),
    ({"message": "Hi", "temperature": -0.1}, "validation_error"),
    ({"message": "Hi", "temperature": 2.1}, "validation_error"),
    ({"message": "Hi", "temperature": 10**400}, "validation_error"),
    ({"message": "Hi", "temperature": "NaN"}, "validation_error"),
    ({"message": "Hi", "temperature": "nan"}, "validation_error"),
    ({"message": "Hi", "temperature": "Infinity"}, "validation_error"),
    ({"message": "Hi", "temperature": None}, "validation_error"),
    ({"message": "Hi", "temperature": True}, "validation_error"),
    ({"message": "Hi", "top_p": 0}, "validation_error"),
    ({"message": "Hi", "top_p": 1.01}, "validation_error"),
    ({"message": "Hi", "top_p": "NaN"}, "validation_error"),
    ({"message": "Hi", "seed": -1}, "validation_error"),
    ({"message": "Hi", "seed": 2**63}, "validation_error"),
    ({"message": "Hi", "seed": 0.5}, "validation_error"),
    ({"message": "Hi", "stream": "perhaps"}, "validation_error"),
    ({"message": "Hi", "stream": 7}, "validation_error"),
    ({"message": "Hi", "masage": "typo"}, "validation_error"),
    ({"message": "Hi", "x\x00": 1}, "validation_error"),
    ([], "validation_error"),
    (None, "validation_error"),
    ("Hello", "validation_error"),
    (7, "validation_error"),
]


@pytest.mark.parametrize(("body", "code"), MESSAGES, ids=lambda value: repr(value)[:60])
async def test_a_message_that_cannot_be_answered(careful: Person, body: Any, code: str) -> None:
    response = await send(careful, "/chat/message", json.dumps(body))

    check_problem(response, 422, code=code)


@pytest.mark.parametrize("field", ["temperature", "top_p", "seed", "stream", "masage"])
async def test_a_refusal_names_the_field(careful: Person, field: str) -> None:
    response = await send(careful, "/chat/message", json.dumps({"message": "Hi", field: "?"}))

    check_problem(response, 422)
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert field in response.json()["detail"]


MODELS_NOT_PREPARED = ["gemma3-1b", "gemma3-12b"]


@pytest.mark.parametrize("model", MODELS_NOT_PREPARED)
async def test_a_model_that_is_not_prepared_is_not_available(careful: Person, model: str) -> None:
    response = await careful.post("/chat/message", {"message": "Hi", "model": model})

    check_problem(response, 503, code="model_unavailable")
    assert int(response.headers["Retry-After"]) > 0


@pytest.mark.parametrize("kind", ["nowhere", "user", "session", "another's"])
async def test_a_conversation_that_is_none_of_ones_own(careful: Person, kind: str) -> None:
    stranger = await careful.api.person()
    identifier = {
        "nowhere": NOWHERE,
        "user": careful.user_id,
        "session": _session_of(careful),
        "another's": (await stranger.say())["conversation_id"],
    }[kind]
    path = f"/chat/conversations/{identifier}"

    for response in (
        await careful.post("/chat/message", {"message": "Hi", "conversation_id": identifier}),
        await careful.post("/chat/quote", {"message": "Hi", "conversation_id": identifier}),
        await careful.ask("PATCH", path, json={"title": "Mine"}),
        await careful.ask("DELETE", path),
    ):
        check_problem(response, 404, code="conversation_not_found")


def _session_of(person: Person) -> str:
    from base64 import urlsafe_b64decode

    payload = person.tokens["access_token"].split(".")[1]
    claims: dict[str, str] = json.loads(urlsafe_b64decode(payload + "=="))
    return claims["sid"]


BROKEN_BODIES: list[tuple[str | bytes, str | None]] = [
    ("", None),
    ("{", "malformed_json"),
    ('{"message": "Hi"', "malformed_json"),
    ('{"message": "Hi",}', "malformed_json"),
    ("{'message': 'Hi'}", "malformed_json"),
    ('{"message": "Hi"} trailing', "malformed_json"),
    ('{"message": "a\nb"}', "malformed_json"),
    ('{"message": "\\x"}', "malformed_json"),
    (b"\xff\xfe", "malformed_json"),
    (b'{"message": "\xc3\x28"}', "malformed_json"),
    (b'\xef\xbb\xbf{"message": "Hi"}', "malformed_json"),
    ('{"message": "Hi"}'.encode("utf-16"), "malformed_json"),
    ('{"message": "\\ud800"}', "malformed_json"),
    ('{"message": "Hi", "model": "\\udfff"}', "malformed_json"),
    ('{"message": "Hi", "\\ud800": 1}', "malformed_json"),
    ('{"message": "Hi", "conversation_id": "\\ud800"}', "malformed_json"),
    ('{"message": {"a": [{"b": "\\udc00"}]}}', "malformed_json"),
    ("[" * 100_000, "malformed_json"),
    ("[" * 100_000 + "]" * 100_000, "malformed_json"),
    ('{"a":' * 50_000 + "1" + "}" * 50_000, "malformed_json"),
    ('{"message": ' + "[" * 100_000 + "]" * 100_000 + "}", "malformed_json"),
    ('{"message": "Hi", "seed": 1' + "0" * 5000 + "}", "malformed_json"),
    ('{"message": "Hi", "seed": NaN}', "malformed_json"),
    ('{"message": "Hi", "temperature": Infinity}', "malformed_json"),
    ('{"message": "Hi", "temperature": -Infinity}', "malformed_json"),
    ('{"message": "Hi", "temperature": 1e99999999999999999999}', None),
    ('{"message": "Hi", "temperature": 1e999999999}', None),
    ('{"message": "Hi", "temperature": 1e-99999999999999999999}', None),
    ('{"message": "Hi", "max_tokens": 1e999999999}', None),
    ('{"message": "Hi", "max_tokens": 1e99999999999999999999}', None),
    ('{"message": "Hi", "seed": 1e999999999}', None),
    ('{"message": 1e99999999999999999999}', None),
    ('{"x": 0.' + "1" * 5000 + "}", None),
    ('{"message": "Hi", "seed": 1e18' + "0" * 10 + "}", None),
]


@pytest.mark.parametrize(
    ("body", "code"), BROKEN_BODIES, ids=[repr(body)[:60] for body, _ in BROKEN_BODIES]
)
@pytest.mark.parametrize("path", ["/chat/message", "/chat/quote", "/billing/add"])
async def test_a_body_that_is_no_json(
    careful: Person, path: str, body: str | bytes, code: str | None
) -> None:
    check_problem(await send(careful, path, body), 400, 422, code=code)


@pytest.mark.parametrize(
    "path", ["/auth/register", "/auth/login", "/auth/refresh", "/chat/message", "/billing/add"]
)
async def test_the_place_of_a_syntax_error_is_told(careful: Person, path: str) -> None:
    response = await send(careful, path, '{\n  "a": 1,\n  oops\n}')

    check_problem(response, 400, code="malformed_json")
    assert "line 3" in response.json()["detail"]


AMOUNTS = [
    ("0", 422),
    ("-1", 422),
    ("-0.000001", 422),
    ("0.999999", 422),
    ("100000.000001", 422),
    ("1.0000001", 422),
    ("1.00000000000000000000000001", 422),
    ("1e400", 422),
    ("1e-400", 422),
    ("1e999999999", 400),
    ("1e-999999999", 400),
    ("1e99999999999999999999", 400),
    ("1" + "0" * 4000, 422),
    ("1" + "0" * 5000, 422),
    ("0." + "0" * 5000 + "1", 422),
    ("true", 422),
    ("false", 422),
    ("null", 422),
    ("[]", 422),
    ("{}", 422),
    ('""', 422),
    ('"NaN"', 422),
    ('"Infinity"', 422),
    ('"1,5"', 422),
    ('"1_000"', 422),
    ('"0x10"', 422),
    ('"١٢"', 422),
    ('"five"', 422),
    ('"1' + "0" * 100 + '"', 422),
    ('"1.0000001"', 422),
    ('"-5"', 422),
    ("NaN", 400),
    ("Infinity", 400),
    ("-Infinity", 400),
    ("01", 400),
    (".5", 400),
    ("+5", 400),
    ("0x10", 400),
]


@pytest.mark.parametrize(("amount", "status"), AMOUNTS, ids=[a[:40] for a, _ in AMOUNTS])
async def test_an_amount_that_cannot_be_added(careful: Person, amount: str, status: int) -> None:
    response = await send(careful, "/billing/add", f'{{"amount": {amount}}}')

    # A number that cannot be read at all may be called malformed.
    check_problem(response, *{status, 400} if len(amount) > 15 else {status})


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "validation_error"),
        ({"amount": 5, "package_id": "starter"}, "validation_error"),
        ({"package_id": "gold"}, "unknown_package"),
        ({"package_id": ""}, "unknown_package"),
        ({"package_id": "starter\x00"}, "validation_error"),
        ({"package_id": "p" * 101}, "validation_error"),
        ({"package_id": 5}, "validation_error"),
        ({"amount": 5, "user_id": NOWHERE}, "validation_error"),
        ([{"amount": 5}], "validation_error"),
    ],
)
async def test_a_purchase_that_cannot_be_made(careful: Person, body: Any, code: str) -> None:
    check_problem(await careful.post("/billing/add", body), 422, code=code)


USER = {"username": "somebody", "email": "somebody@example.com", "password": "long enough"}


@pytest.mark.parametrize(
    "change",
    [
        {"username": ""},
        {"username": "ab"},
        {"username": "a" * 33},
        {"username": "a" * 1001},
        {"username": "has space"},
        {"username": "-dash"},
        {"username": "a\x00b"},
        {"username": "a\nb"},
        {"username": "ünïcode"},
        {"username": "<script>"},
        {"username": None},
        {"username": 7},
        {"email": ""},
        {"email": "nobody"},
        {"email": "a@b"},
        {"email": "a@b@c.example"},
        {"email": "a b@example.com"},
        {"email": "a@example.com\r\nBcc: x@example.com"},
        {"email": "x" * 65 + "@example.com"},
        {"email": "a@" + "x" * 300 + ".com"},
        {"email": "a\u200b@example.com"},
        {"email": ["a@example.com"]},
        {"password": ""},
        {"password": "short"},
        {"password": "x" * 73},
        {"password": "ü" * 37},
        {"password": "x" * 1001},
        {"password": "with a \x00 in it"},
        {"password": None},
        {"password": 12345678},
        {"role": "admin"},
        {"user_id": NOWHERE},
    ],
    ids=lambda value: repr(value)[:50],
)
async def test_a_registration_that_cannot_be_made(careful: Person, change: dict[str, Any]) -> None:
    response = await careful.api.client.post("/auth/register", json=USER | change)

    check_problem(response, 422)
    assert str(change.get("password") or "x" * 99) not in response.text


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"username": "x"},
        {"password": "x"},
        {"username": None, "password": None},
        {"username": "x", "password": "y", "otp": "z"},
        {"username": "a\x00", "password": "y"},
        {"username": "a" * 1001, "password": "y"},
    ],
)
async def test_a_sign_in_that_is_none(careful: Person, body: dict[str, Any]) -> None:
    check_problem(await careful.api.client.post("/auth/login", json=body), 422)


@pytest.mark.parametrize(
    "change",
    [
        {"password": "\x00" * 8},
        {"password": "x" * 1000},
        {"password": "ü" * 500},
        {"password": ""},
        {"username": ""},
        {"username": " "},
        {"username": "@"},
        {"username": "%00"},
        {"username": "ﬀ@example.com"},
        {"username": "' OR 1=1 --"},
    ],
)
async def test_a_sign_in_that_fails(careful: Person, change: dict[str, str]) -> None:
    body = {"username": careful.username, "password": "wrong"} | change

    response = await careful.api.client.post("/auth/login", json=body)

    check_problem(response, 401, code="wrong_credentials")


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("content", "content_type"),
    [
        (b"", FORM),
        (b"username=x", FORM),
        (b"username=x&password=y&grant_type=implicit", FORM),
        (b"username=%00&password=%00", FORM),
        (b"username=%ED%A0%80&password=y", FORM),
        (b"username=%FF%FE&password=%FF", FORM),
        (b"username=\xed\xa0\x80&password=y", FORM),
        (b"username=" + b"x" * 100_000 + b"&password=y", FORM),
        (b"&".join(b"a%d=1" % n for n in range(2000)), FORM),
        (b"username=x&username=z&password=y", FORM),
        (b"%", FORM),
        (b"=", FORM),
        (b"username[]=x&password=y", FORM),
        (b'{"username": "x", "password": "y"}', "application/json"),
        (b"username=x&password=y", "text/plain"),
        (b"username=x&password=y", ""),
        (b"--b\r\n", "multipart/form-data; boundary=b"),
        (b"nonsense", "multipart/form-data"),
        (b"nonsense", "multipart/form-data; boundary="),
        (b"nonsense", "multipart/form-data; boundary=b"),
    ],
    ids=lambda value: repr(value)[:50],
)
async def test_a_form_that_signs_nobody_in(
    careful: Person, content: bytes, content_type: str
) -> None:
    response = await careful.api.client.post(
        "/auth/token", content=content, headers={"Content-Type": content_type}
    )

    check_problem(response, 400, 401, 413, 422)


@pytest.mark.parametrize("charset", ["utf-7", "unicode_escape", "utf-16", "idna", "nonsense"])
async def test_a_form_in_a_strange_character_set(careful: Person, charset: str) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
    content = part % (b"username", b"+2AA-\\ud800") + part % (b"password", b"y") + b"--b--\r\n"
    headers = {"Content-Type": f"multipart/form-data; boundary=b; charset={charset}"}

    response = await careful.api.client.post("/auth/token", content=content, headers=headers)

    check_problem(response, 400, 401, 422)


async def test_a_file_in_the_place_of_a_name(careful: Person) -> None:
    response = await careful.api.client.post(
        "/auth/token", files={"username": ("u.txt", b"x"), "password": ("p.txt", b"y")}
    )

    check_problem(response, 422)


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
    body = {"/chat/message": {"message": "Hi"}, "/billing/add": {"amount": 5}}.get(path, USER)

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
    "content_type", ["text/plain", "application/xml", "", "application/x-www-form-urlencoded", ";"]
)
async def test_a_body_of_another_type_is_told_apart(careful: Person, content_type: str) -> None:
    response = await careful.ask(
        "POST",
        "/chat/message",
        content=b'{"message": "Hi"}',
        headers={"Content-Type": content_type},
    )

    check_problem(response, 415, code="unsupported_media_type")
    assert "application/json" in response.json()["detail"]


@pytest.mark.parametrize("path", ["/chat/message", "/auth/register", "/billing/add", "/auth/token"])
@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_of_ten_megabytes_is_not_read(
    careful: Person, path: str, announced: bool
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"message": "'
        for _ in range(100):
            yield b"x" * 100_000
        yield b'"}'

    content: Any = b'{"message": "' + b"x" * 10_000_000 + b'"}' if announced else pieces()
    headers = JSON if path != "/auth/token" else {"Content-Type": FORM}
    response = await careful.ask("POST", path, content=content, headers=headers)

    check_problem(response, 413, code="body_too_large")


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


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"title": ""},
        {"title": " "},
        {"title": "x" * 121},
        {"title": "a\nb"},
        {"title": None},
        {"title": "a\x00b"},
        {"name": "x"},
        {"title": "\u2028x\u2028y"},
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_a_title_that_is_none(person: Person, body: dict[str, Any]) -> None:
    conversation_id = (await person.say())["conversation_id"]

    response = await person.ask("PATCH", f"/chat/conversations/{conversation_id}", json=body)

    check_problem(response, 422)
