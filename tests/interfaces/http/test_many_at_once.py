"""Requests that arrive at the same moment."""

import asyncio
from collections import Counter

import pytest

from application.chat.inference_errors import InferenceError
from tests.support.api import PASSWORD, Api, Person
from tests.support.scripted_engine import script

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def with_credits(person: Person, left: int) -> Person:
    """Spends the welcome credits down to `left`."""
    for _ in range((100 - left) // 2):
        await person.say()
    assert await person.available() == left
    return person


async def test_thirty_messages_at_once_where_five_can_be_paid(person: Person) -> None:
    await with_credits(person, 10)

    responses = await asyncio.gather(
        *(person.post("/chat/message", {"message": "Hello"}) for _ in range(30))
    )

    assert Counter(response.status_code for response in responses) == {200: 5, 402: 25}
    for response in responses:
        if response.status_code == 402:
            assert response.json()["required"] == 2
            assert response.json()["available"] < 2
    person.position = str(max(int(r.headers.get("Ledger-Position", 0)) for r in responses))
    assert await person.balance() == (0, 0)


@pytest.mark.parametrize("fails", [False, True])
async def test_the_same_message_ten_times_at_once_under_one_key(
    api: Api, person: Person, fails: bool
) -> None:
    if fails:
        # Whoever comes again later would get the default answer.
        api.engine.script_next(script(InferenceError("the model broke off")))
    headers = {"Idempotency-Key": "k"}

    responses = await asyncio.gather(
        *(
            person.post("/chat/message", {"message": "Hello", "stream": False}, headers=headers)
            for number in range(10)
        )
    )

    statuses = {response.status_code for response in responses}
    if fails:
        # Ten failures; or one of the ten came after the failure and was answered anew.
        assert 503 in statuses
        assert statuses <= {200, 409, 503}
    else:
        assert statuses == {200}
        assert len({response.content for response in responses}) == 1
        assert sum("Idempotency-Replayed" not in r.headers for r in responses) == 1
    assert await person.available() == (98 if 200 in statuses else 100)


async def test_the_same_purchase_ten_times_at_once_under_one_key(person: Person) -> None:
    headers = {"Idempotency-Key": "k"}

    responses = await asyncio.gather(
        *(person.post("/billing/add", {"amount": 7}, headers=headers) for _ in range(10))
    )

    assert {response.status_code for response in responses} == {201}
    assert len({response.content for response in responses}) == 1
    assert await person.available() == 107


async def test_of_two_who_register_the_same_name_at_once_one_is_told_that_it_is_taken(
    api: Api,
) -> None:
    responses = await asyncio.gather(
        *(
            api.client.post(
                "/auth/register",
                json={
                    "username": "twins",
                    "email": f"twin{number}@example.com",
                    "password": PASSWORD,
                },
            )
            for number in range(4)
        )
    )

    assert Counter(response.status_code for response in responses) == {201: 1, 409: 3}
