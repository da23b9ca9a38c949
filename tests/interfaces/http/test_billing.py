"""/billing: exact balances, purchases, transactions and receipts."""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

import httpx
import pytest

from tests.support.api import Api, Person
from tests.support.scripted_engine import COMPUTED_ON, MANIFEST_HASH, MODEL

pytestmark = pytest.mark.asyncio(loop_scope="module")


def numbers(text: str) -> dict[str, str]:
    """The digits of every number in a flat JSON document, as they are written."""
    return dict(re.findall(r'"(\w+)":(-?[0-9][^,}\]]*)', text))


async def add(person: Person, **body: Any) -> httpx.Response:
    response = await person.post("/billing/add", body)
    assert response.status_code == 201, response.text
    return response


async def test_a_new_balance_is_the_welcome_credits(person: Person) -> None:
    response = await person.get("/billing/balance")

    balance = response.json()
    assert datetime.fromisoformat(balance.pop("as_of")).utcoffset() == timedelta()
    assert balance == {"available": 100, "held": 0, "paid": 0, "promotional": 100}


async def test_a_package_adds_its_credits_and_its_bonus(person: Person) -> None:
    response = await add(person, package_id="standard")

    added = response.json()
    assert UUID(added.pop("transaction_id"))
    assert added == {
        "credited": 500,
        "bonus": 50,
        "balance": {"available": 650, "held": 0},
        "development": True,
    }
    balance = (await person.get("/billing/balance")).json()
    assert (balance["paid"], balance["promotional"]) == (500, 150)


@pytest.mark.parametrize(
    ("sent", "credited"),
    [
        ("1", "1"),
        ("1.000001", "1.000001"),
        ("99999.999999", "99999.999999"),
        ("100000", "100000"),
        ('"12.5"', "12.5"),
        ("12.50", "12.5"),
        ("1e1", "10"),
        ("1.5e0", "1.5"),
        ("33.333333", "33.333333"),
        ("0.1e1", "1"),
        ("4.35", "4.35"),
        ("1.100000000000", "1.1"),
    ],
)
async def test_amounts_are_read_and_written_digit_by_digit(
    person: Person, sent: str, credited: str
) -> None:
    response = await person.ask(
        "POST",
        "/billing/add",
        content=f'{{"amount": {sent}}}',
        headers={"Content-Type": "application/json"},
    )

    assert response.status_code == 201, response.text
    written = numbers(response.text)
    assert written["credited"] == credited
    assert Decimal(written["available"]) == 100 + Decimal(credited)
    assert written["bonus"] == "0"


async def test_the_packages_are_open_with_prices_as_texts(api: Api) -> None:
    found = (await api.client.get("/billing/packages")).json()

    assert found["development"] is True
    assert found["custom"] == {"amount_min": 1, "amount_max": 100000}
    assert found["items"][1] == {
        "package_id": "standard",
        "title": "Standard",
        "credits": 500,
        "bonus": 50,
        "price": "20.00",
        "currency": "EUR",
    }


async def test_a_purchase_under_its_key_is_made_once(person: Person) -> None:
    key = {"Idempotency-Key": "k"}

    first = await person.post("/billing/add", {"amount": 5}, headers=key)
    again = await person.post("/billing/add", {"amount": "5.000"}, headers=key)
    other = await person.post("/billing/add", {"amount": 6}, headers=key)

    assert again.json() == first.json()
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (201, "true")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert await person.balance() == (105, 0)


async def test_everything_that_came_and_went_is_a_transaction(person: Person) -> None:
    bought = (await add(person, package_id="standard")).json()
    answer = await person.say()

    items = (await person.get("/billing/transactions")).json()["items"]

    assert [(item["type"], item["amount"], item["balance_after"]) for item in items] == [
        ("debit", -2, 648),
        ("bonus", 50, 650),
        ("purchase", 500, 600),
        ("grant", 100, 100),
    ]
    assert items[0]["message_id"] == answer["message_id"]
    assert items[2]["transaction_id"] == bought["transaction_id"]
    assert all(item["description"] for item in items)


async def test_transactions_are_filtered_and_paged(person: Person) -> None:
    for number in range(1, 4):
        await add(person, amount=number)
    whole = (await person.get("/billing/transactions")).json()["items"]

    async def found(**query: Any) -> list[float]:
        response = await person.get("/billing/transactions", params=query)
        assert response.status_code == 200, response.text
        return [item["amount"] for item in response.json()["items"]]

    assert await found(type="purchase") == [3, 2, 1]
    assert await found(type="debit") == []
    assert await found(since=whole[1]["created_at"]) == [3, 2]
    assert await found(until=whole[1]["created_at"]) == [1, 100]
    first = (await person.get("/billing/transactions", params={"limit": 2})).json()
    assert await found(limit=2, cursor=first["next_cursor"]) == [1, 100]


async def test_a_receipt_explains_an_answer_down_to_the_events(api: Api, person: Person) -> None:
    response = await person.post("/chat/message", {"message": "Hello there"})
    answer = response.json()

    receipt = (await person.get(f"/billing/receipts/{answer['message_id']}")).json()

    settled = int(response.headers["Ledger-Position"])
    assert UUID(receipt.pop("hold_id"))
    assert receipt.pop("held_at") <= receipt.pop("settled_at")
    assert receipt.pop("hold_position") < receipt["settlement_position"]
    assert len(receipt.pop("proof")["events"]) == 3
    assert receipt == {
        "message_id": answer["message_id"],
        "conversation_id": answer["conversation_id"],
        "status": "charged",
        "reason": None,
        "model": MODEL,
        "manifest_hash": MANIFEST_HASH,
        "computed_on": COMPUTED_ON,
        "price": {
            "kind": "per_message",
            "credits": 2,
            "prompt_credits_per_1000": None,
            "completion_credits_per_1000": None,
        },
        "price_version": "message:2000000",
        "prompt_tokens": 5,
        "completion_tokens": 4,
        "finish_reason": "stop",
        "held": 2,
        "charged": 2,
        "released": 0,
        "refunded": 0,
        "settlement_position": settled - 1,
        "response_position": settled,
    }


async def test_a_balance_of_the_past(person: Person) -> None:
    before = (await person.get("/billing/balance")).json()
    await add(person, amount=7)
    now = (await person.get("/billing/balance")).json()

    async def at(time: str) -> dict[str, Any]:
        response = await person.get("/billing/balance", params={"at": time})
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    assert await at(before["as_of"]) == before
    assert await at(now["as_of"]) == now
    assert (await at("0001-01-01T00:00:00Z"))["available"] == 0
    assert (await at("1970-01-01T00:00:00Z"))["available"] == 0
    moved = (datetime.fromisoformat(before["as_of"]) + timedelta(hours=2)).replace(tzinfo=None)
    elsewhere = await at(f"{moved.isoformat()}+02:00")
    assert elsewhere == before


async def test_the_receipts_of_others_are_not_there(api: Api, person: Person) -> None:
    answer = await person.say()
    stranger = await api.person()

    for message_id in (answer["message_id"], str(uuid5(UUID(int=0), "nothing"))):
        response = await stranger.get(f"/billing/receipts/{message_id}")
        assert (response.status_code, response.json()["code"]) == (404, "message_not_found")


async def test_nobody_sees_what_belongs_to_others(api: Api, person: Person) -> None:
    answer = await person.say("A secret of mine")
    stranger = await api.person()
    conversation = f"/chat/conversations/{answer['conversation_id']}"
    headers = {"Ledger-Position": person.position}

    history = await stranger.get("/chat/history", headers=headers)
    conversations = await stranger.get("/chat/conversations", headers=headers)
    filtered = await stranger.get(
        "/chat/history", params={"conversation_id": answer["conversation_id"]}, headers=headers
    )
    assert history.json()["items"] == []
    assert conversations.json()["items"] == []
    assert filtered.json()["items"] == []
    for response in (
        await stranger.ask("PATCH", conversation, json={"title": "Mine now"}),
        await stranger.ask("DELETE", conversation),
        await stranger.post(
            "/chat/message", {"message": "Hi", "conversation_id": answer["conversation_id"]}
        ),
        await stranger.post(
            "/chat/quote", {"message": "Hi", "conversation_id": answer["conversation_id"]}
        ),
    ):
        assert (response.status_code, response.json()["code"]) == (404, "conversation_not_found")
    assert await stranger.balance() == (100, 0)
