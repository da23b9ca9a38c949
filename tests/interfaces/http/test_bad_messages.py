"""Bad input is answered with a problem document and moves no credit. Here: messages."""

import json
from typing import Any

import pytest

from tests.interfaces.http.problem import NOWHERE, check_problem, send
from tests.support.api import Person

pytestmark = pytest.mark.asyncio(loop_scope="module")


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


MODELS_NOT_PREPARED = ["gemma3-1b", "gemma3-4b", "gemma3-12b"]


@pytest.mark.parametrize("model", MODELS_NOT_PREPARED)
async def test_a_model_that_is_not_prepared_is_not_available(careful: Person, model: str) -> None:
    response = await careful.post("/chat/message", {"message": "Hi", "model": model})

    check_problem(response, 503, code="model_unavailable")
    assert int(response.headers["Retry-After"]) > 0


@pytest.mark.parametrize("kind", ["nowhere", "user", "session", "another's"])
async def test_the_conversation_of_somebody_else_does_not_exist(careful: Person, kind: str) -> None:
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
async def test_text_that_is_no_title_is_refused(person: Person, body: dict[str, Any]) -> None:
    conversation_id = (await person.say())["conversation_id"]

    response = await person.ask("PATCH", f"/chat/conversations/{conversation_id}", json=body)

    check_problem(response, 422)
