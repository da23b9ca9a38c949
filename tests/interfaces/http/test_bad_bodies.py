"""Bad input is answered with a problem document and moves no credit. Here: bodies and numbers."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.interfaces.http.problem import FORM, JSON, NOWHERE, check_problem, send
from tests.support.api import Person

pytestmark = pytest.mark.asyncio(loop_scope="module")


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


async def test_thousands_of_unknown_fields_are_not_repeated_to_the_client(careful: Person) -> None:
    body = {"message": "Hi", "x" * 50_000: 1} | {f"field{number}": 1 for number in range(10_000)}

    response = await careful.post("/chat/message", body)

    check_problem(response, 422, code="validation_error")
    assert len(response.content) < 5_000
    assert response.json()["errors"][0]["field"].startswith("xxx")
