"""An Idempotency-Key stands for one request: whatever is changed in it is noticed."""

from typing import Any

import pytest

from tests.interfaces.http.problem import NOWHERE, check_problem
from tests.support.api import PASSWORD, Api, Person

pytestmark = pytest.mark.asyncio(loop_scope="module")

# For each route: a body, and for each of its fields another value.
COMMANDS: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {
    "/auth/register": [
        (
            {"username": "key-holder", "email": "key-holder@example.com", "password": PASSWORD},
            {"email": "other@example.com", "password": "another passphrase"},
        )
    ],
    "/billing/add": [
        ({"amount": 5}, {"amount": 6}),
        ({"package_id": "small"}, {"package_id": "large"}),
    ],
    "/chat/message": [
        (
            {
                "message": "Hello",
                "model": None,
                "conversation_id": None,
                "max_tokens": 20,
                "temperature": 0.5,
                "top_p": 0.9,
                "seed": 7,
            },
            {
                "message": "hello",
                "model": "gemma3-1b",
                "conversation_id": NOWHERE,
                "max_tokens": 21,
                "temperature": 0.6,
                "top_p": 0.8,
                "seed": 8,
            },
        )
    ],
}
# The name owns the key, so another name is another key; a stream is another form of one answer.
NOT_IN_THE_FINGERPRINT = {"/auth/register": {"username"}, "/chat/message": {"stream"}}


async def test_every_field_of_every_command_that_takes_a_key_is_in_the_table(api: Api) -> None:
    document = api.app.openapi()
    fields: dict[str, set[str]] = {}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if any(p["name"] == "Idempotency-Key" for p in operation.get("parameters", [])):
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                name = schema["$ref"].rpartition("/")[2]
                fields[path] = set(document["components"]["schemas"][name]["properties"])

    tried = {
        path: {field for _, changes in cases for field in changes}
        | NOT_IN_THE_FINGERPRINT.get(path, set())
        for path, cases in COMMANDS.items()
    }
    assert tried == fields


@pytest.mark.parametrize(
    ("path", "number"), [(path, n) for path, cases in COMMANDS.items() for n in range(len(cases))]
)
async def test_another_value_of_any_field_is_another_request(
    person: Person, path: str, number: int
) -> None:
    body, changes = COMMANDS[path][number]
    if path == "/billing/add" and "package_id" in body:
        packages = (await person.get("/billing/packages")).json()["items"]
        body = {"package_id": packages[0]["package_id"]}
        changes = {"package_id": packages[1]["package_id"]}
    headers = {"Idempotency-Key": f"key {number}"}
    first = await person.post(path, body, headers=headers)
    assert first.status_code in (200, 201), first.text

    for field, value in changes.items():
        other = await person.post(path, body | {field: value}, headers=headers)
        check_problem(other, 422, code="idempotency_key_reused")
    again = await person.post(path, body, headers=headers)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.content == first.content


async def test_a_registration_with_another_password_is_told_so(api: Api) -> None:
    body = {"username": "resent", "email": "resent@example.com"}
    headers = {"Idempotency-Key": "k"}
    first = await api.client.post(
        "/auth/register", json=body | {"password": PASSWORD}, headers=headers
    )

    other = await api.client.post(
        "/auth/register", json=body | {"password": "another passphrase"}, headers=headers
    )

    assert first.status_code == 201
    check_problem(other, 422, code="idempotency_key_reused")
