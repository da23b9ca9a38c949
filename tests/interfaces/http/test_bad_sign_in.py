"""Bad input is answered with a problem document and moves no credit. Here: who somebody is."""

from typing import Any

import pytest

from tests.interfaces.http.problem import FORM, NOWHERE, check_problem
from tests.support.api import Person

pytestmark = pytest.mark.asyncio(loop_scope="module")


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
async def test_a_body_that_is_no_sign_in_is_refused(careful: Person, body: dict[str, Any]) -> None:
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
