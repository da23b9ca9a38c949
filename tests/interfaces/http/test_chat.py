"""/chat: a message with its answer, and everything around it."""

import json
import re
from datetime import datetime
from uuid import UUID

import pytest

from tests.support.api import Api, Person
from tests.support.scripted_engine import MANIFEST_HASH, MODEL, script

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_answer_says_what_it_cost_and_what_is_left(person: Person) -> None:
    response = await person.post("/chat/message", {"message": "What is it?"})

    assert response.status_code == 200
    answer = response.json()
    assert UUID(answer.pop("message_id")).version == 7
    assert UUID(answer.pop("conversation_id")).version == 7
    assert answer.pop("latency_ms") >= 0
    assert answer == {
        "model": MODEL,
        "response": "The answer is 42.",
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 6, "completion_tokens": 4},
        "turns_dropped": 0,
        "cost": 2,
        "balance": {"available": 98, "held": 0},
        "cached": False,
    }
    assert int(response.headers["Ledger-Position"]) > 0
    assert response.headers["Content-Type"] == "application/json"


async def test_everything_that_may_be_asked_reaches_the_engine(api: Api, person: Person) -> None:
    await person.say(
        "One two", model=MODEL, max_tokens=3, temperature=0.3, top_p=0.8, seed=2**63 - 1
    )

    request = api.engine.requests[-1]
    assert request.max_tokens == 3
    assert request.owner == person.user_id
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.seed) == (0.3, 0.8, 2**63 - 1)


async def test_a_conversation_goes_on_under_its_id(api: Api, person: Person) -> None:
    first = await person.say("One")
    second = await person.say("Two", conversation_id=first["conversation_id"])

    assert second["conversation_id"] == first["conversation_id"]
    assert [turn.content for turn in api.engine.prompts[-1]] == ["One", first["response"], "Two"]


async def test_text_in_every_script_comes_back_as_it_was(api: Api, person: Person) -> None:
    api.engine.script_next(script("Ünïcödé ", "日本語 ", "🦔 ", "\u202eabc ", '"\\\n'))
    answer = await person.say("¿Qué? 🦔 \t tab\nand line")

    assert answer["response"] == 'Ünïcödé 日本語 🦔 \u202eabc "\\'
    found = (await person.get("/chat/history")).json()["items"]
    assert [item["content"] for item in found] == [
        answer["response"],
        "¿Qué? 🦔 \t tab\nand line",
    ]


async def test_the_catalogue_is_open_and_says_what_everything_costs(api: Api) -> None:
    response = await api.client.get("/chat/models")

    models = {model["name"]: model for model in response.json()["items"]}
    assert list(models) == ["gemma3-270m", "gemma3-1b", "gemma3-4b", "gemma3-12b"]
    assert models[MODEL]["price"] == {
        "kind": "per_message",
        "credits": 2,
        "prompt_credits_per_1000": None,
        "completion_credits_per_1000": None,
    }
    assert (models[MODEL]["state"], models[MODEL]["default"]) == ("ready", True)
    assert models[MODEL]["manifest_hash"] == MANIFEST_HASH
    assert models["gemma3-12b"]["state"] == "not_prepared"
    assert models["gemma3-12b"]["price"]["credits"] == 50


async def test_the_status_says_whether_the_default_model_can_answer(person: Person) -> None:
    response = await person.get("/chat/status")

    assert response.json() == {"ready": True, "default_model": MODEL, "answers_under_way": 0}


async def test_a_quote_says_the_most_and_holds_nothing(person: Person) -> None:
    response = await person.post("/chat/quote", {"message": "One two", "max_tokens": 50})

    assert response.json() == {
        "model": MODEL,
        "price": {
            "kind": "per_message",
            "credits": 2,
            "prompt_credits_per_1000": None,
            "completion_credits_per_1000": None,
        },
        "prompt_tokens": 5,
        "turns_dropped": 0,
        "max_tokens": 50,
        "cost_max": 2,
        "available": 100,
        "affordable": True,
    }
    assert await person.balance() == (100, 0)


async def test_history_shows_prompts_and_answers_newest_first(person: Person) -> None:
    answer = await person.say("Hello there")

    answered, prompted = (await person.get("/chat/history")).json()["items"]

    assert answered["message_id"] == answer["message_id"]
    assert answered["reply_to"] == prompted["message_id"]
    assert (answered["role"], prompted["role"]) == ("assistant", "user")
    assert (answered["cost"], prompted["cost"]) == (2, None)
    assert (answered["status"], prompted["status"]) == ("answered", "answered")
    assert (answered["completion_tokens"], answered["finish_reason"]) == (4, "stop")
    assert prompted["content"] == "Hello there"
    for item in (answered, prompted):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", item["created_at"])


async def test_history_is_read_page_by_page_without_a_gap_or_a_double(person: Person) -> None:
    for number in range(5):
        await person.say(f"Message {number}")
    whole = (await person.get("/chat/history")).json()
    assert whole["next_cursor"] is None

    pages, cursor = [], None
    while True:
        query = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
        page = (await person.get("/chat/history", params=query)).json()
        pages += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert pages == whole["items"]
    assert len(pages) == 10


async def test_a_search_finds_every_spelling_of_an_accent(api: Api, person: Person) -> None:
    composed, decomposed = "Café für 2", "Cafe\u0301 fu\u0308r 2"
    for text in (composed, decomposed):
        api.engine.script_next(script("Gern."))
        await person.say(text)

    for query in ("Café", "cafe\u0301", "fu\u0308r 2", "für", composed, decomposed):
        response = await person.get("/chat/history", params={"q": query})
        found = [item["content"] for item in response.json()["items"]]
        assert found == [decomposed, composed], query
    plain = await person.get("/chat/history", params={"q": "Cafe "})
    assert plain.json()["items"] == []


async def test_history_is_filtered(api: Api, person: Person) -> None:
    api.engine.script_next(script("About cats."), script("About 100% wool."))
    cats = await person.say("Tell me about cats")
    await person.say("And wool?")
    everything = (await person.get("/chat/history")).json()["items"]
    between = everything[1]["created_at"]

    async def found(**query: str) -> list[str]:
        response = await person.get("/chat/history", params=query)
        assert response.status_code == 200, response.text
        return [item["content"] for item in response.json()["items"]]

    assert await found(conversation_id=cats["conversation_id"]) == [
        "About cats.",
        "Tell me about cats",
    ]
    assert await found(q="CATS") == ["About cats.", "Tell me about cats"]
    assert await found(q="100%") == ["About 100% wool."]
    assert await found(q="_") == []
    assert await found(model="gemma3-1b") == []
    assert len(await found(model=MODEL)) == 4
    assert await found(since=between) == ["About 100% wool.", "And wool?"]
    assert await found(until=between) == ["About cats.", "Tell me about cats"]
    assert await found(since="9999-12-31T23:59:59Z") == []
    assert len(await found(since="0001-01-01T00:00:00Z")) == 4


async def test_conversations_are_listed_renamed_and_deleted(person: Person) -> None:
    first = await person.say("What is a hedgehog and where does it live in the winter months?")
    second = await person.say("Hello")

    listed = (await person.get("/chat/conversations")).json()["items"]
    assert [item["conversation_id"] for item in listed] == [
        second["conversation_id"],
        first["conversation_id"],
    ]
    assert listed[1]["title"] == "What is a hedgehog and where does it live in the winter mon…"
    assert listed[1]["message_count"] == 2

    path = f"/chat/conversations/{first['conversation_id']}"
    renamed = await person.ask("PATCH", path, json={"title": "  Hedgehogs  "})
    assert (renamed.status_code, renamed.content) == (204, b"")
    listed = (await person.get("/chat/conversations")).json()["items"]
    assert "Hedgehogs" in [item["title"] for item in listed]

    deleted = await person.ask("DELETE", path)
    assert deleted.status_code == 204
    listed = (await person.get("/chat/conversations")).json()["items"]
    assert [item["conversation_id"] for item in listed] == [second["conversation_id"]]
    assert (await person.ask("DELETE", path)).status_code == 404
    # What it cost stays on the statement.
    assert (await person.get(f"/billing/receipts/{first['message_id']}")).status_code == 200


async def test_conversations_are_read_page_by_page(person: Person) -> None:
    for number in range(3):
        await person.say(f"Message {number}")

    first = (await person.get("/chat/conversations", params={"limit": 2})).json()
    second = (
        await person.get("/chat/conversations", params={"limit": 2, "cursor": first["next_cursor"]})
    ).json()

    titles = [item["title"] for item in first["items"] + second["items"]]
    assert titles == ["Message 2", "Message 1", "Message 0"]
    assert second["next_cursor"] is None


async def test_what_is_written_is_read_back_at_once_with_its_position(person: Person) -> None:
    for spent in range(1, 6):
        response = await person.post("/chat/message", {"message": "Hello"})
        position = response.headers["Ledger-Position"]
        read = await person.get("/billing/balance", headers={"Ledger-Position": position})
        assert read.json()["available"] == 100 - 2 * spent


async def test_a_message_sent_again_under_its_key_is_replayed_and_marked(person: Person) -> None:
    key = {"Idempotency-Key": "my key"}
    body = {"message": "Hello", "temperature": 0.5}

    first = await person.post("/chat/message", body, headers=key)
    again = await person.post("/chat/message", body, headers=key)

    assert again.json() == first.json()
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert await person.balance() == (98, 0)
    other = await person.post("/chat/message", {**body, "message": "Bye"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_the_same_request_in_other_bytes_is_the_same_request(person: Person) -> None:
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
    texts = [
        '{"message": "Hi", "temperature": 0.5, "seed": 1}',
        '{"seed":1,"temperature":5e-1,"message":"\\u0048i","max_tokens":null}',
    ]

    answers = [
        await person.ask("POST", "/chat/message", content=text, headers=headers) for text in texts
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert json.loads(answers[0].content) == json.loads(answers[1].content)


async def test_times_are_utc(person: Person) -> None:
    await person.say()
    item = (await person.get("/chat/conversations")).json()["items"][0]

    for name in ("created_at", "updated_at"):
        assert datetime.fromisoformat(item[name]).utcoffset() is not None
        assert item[name].endswith("Z")
