"""Server-sent events, and clients that go away in the middle of an answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from application.chat.inference_errors import GenerationTimedOut, InferenceError
from tests.support.api import Api, Person, serving
from tests.support.scripted_engine import Pause, script

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def base_url(api: Api) -> AsyncIterator[str]:
    async with serving(api) as url:
        yield url


def parse(text: str) -> list[tuple[str, str | None, Any]]:
    """Name, id and data of every event (WHATWG, section 9.2)."""
    found = []
    assert text.endswith("\n\n")
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields["event"], fields.get("id"), json.loads(fields["data"])))
    return found


async def stream(person: Person, text: str = "Hello", **body: Any) -> httpx.Response:
    headers = body.pop("headers", {})
    return await person.post(
        "/chat/message", {"message": text, "stream": True, **body}, headers=headers
    )


async def test_an_answer_is_started_comes_in_pieces_and_is_done(api: Api, person: Person) -> None:
    api.engine.script_next(script("Forty ", "", "two\n\nlines: ", "🦔."))

    response = await stream(person)

    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/event-stream")
    assert response.headers["Cache-Control"] == "no-store"
    events = parse(response.text)
    assert [name for name, _, _ in events] == ["started", "delta", "delta", "delta", "done"]
    started, done = events[0], events[-1]
    assert started[2] | {"message_id": "", "conversation_id": ""} == {
        "message_id": "",
        "conversation_id": "",
        "model": "gemma3-270m",
        "held": 2,
        "max_tokens": 196,
        "turns_dropped": 0,
    }
    assert [data for name, _, data in events if name == "delta"] == [
        {"text": "Forty "},
        {"text": "two\n\nlines: "},
        {"text": "🦔."},
    ]
    assert done[2]["message_id"] == started[2]["message_id"]
    assert done[2]["response"] == "Forty two\n\nlines: 🦔."
    assert (done[2]["cost"], done[2]["balance"]) == (2, {"available": 98, "held": 0})


async def test_the_ids_of_start_and_end_are_positions_to_read_from(person: Person) -> None:
    response = await stream(person)

    ids = {name: event_id for name, event_id, _ in parse(response.text) if event_id}
    assert list(ids) == ["started", "done"]
    assert ids["started"] == response.headers["Ledger-Position"]
    assert int(ids["done"]) == int(ids["started"]) + 2
    read = await person.get("/billing/balance", headers={"Ledger-Position": ids["done"]})
    assert (read.json()["available"], read.json()["held"]) == (98, 0)


async def test_an_answer_that_breaks_off_before_its_text_ends_with_a_problem_and_costs_nothing(
    api: Api, person: Person
) -> None:
    api.engine.script_next(script("", InferenceError("the model broke off")))

    events = parse((await stream(person)).text)

    assert [name for name, _, _ in events] == ["started", "error"]
    problem = events[-1][2]
    assert (problem["status"], problem["code"]) == (503, "generation_failed")
    assert "nothing was charged" in problem["detail"]
    assert problem["retry_after_s"] >= 1
    assert problem["request_id"]
    assert await person.available() == 100


@pytest.mark.parametrize(
    ("error", "reason", "cost"),
    [
        (InferenceError("the model broke off"), "error", Decimal("0.2")),
        (RuntimeError("secret details"), "error", Decimal("0.2")),
        (GenerationTimedOut(timeout_s=1), "timeout", Decimal(2)),
    ],
)
async def test_an_answer_that_breaks_off_in_its_text_is_paid_as_far_as_it_came(
    api: Api, person: Person, error: Exception, reason: str, cost: Decimal
) -> None:
    api.engine.script_next(script("Forty ", error))

    response = await stream(person, max_tokens=10)

    events = parse(response.text)
    assert [name for name, _, _ in events] == ["started", "delta", "done"]
    done = events[-1][2]
    assert (done["response"], done["finish_reason"]) == ("Forty", reason)
    assert Decimal(str(done["cost"])) == cost
    person.position = str(events[-1][1])
    assert Decimal(str(await person.available())) == 100 - cost
    assert "secret" not in response.text
    receipt = (await person.get(f"/billing/receipts/{done['message_id']}")).json()
    assert receipt["finish_reason"] == reason


async def test_a_defect_is_an_error_event_that_tells_nothing_of_the_inside(
    api: Api, person: Person
) -> None:
    api.engine.script_next(script(RuntimeError("secret details")))

    response = await stream(person)

    assert parse(response.text)[-1][0] == "error"
    assert "secret" not in response.text
    assert await person.available() == 100


async def test_an_answer_without_text_is_done_without_a_delta(api: Api, person: Person) -> None:
    api.engine.script_next(script(""))
    headers = {"Idempotency-Key": "k"}

    for _ in range(2):
        body = {"message": "Hi", "stream": True}
        response = await person.post("/chat/message", body, headers=headers)
        *_, (name, _, done) = events = parse(response.text)
        assert "delta" not in [name for name, _, _ in events]
        assert (name, done["response"], done["cost"]) == ("done", "", 0)
    assert await person.available() == 100


@pytest.mark.parametrize(
    ("body", "status"),
    [({"message": " "}, 422), ({"message": "Hi", "model": "gpt-9"}, 422)],
)
async def test_a_refusal_before_the_start_is_no_stream(
    person: Person, body: dict[str, Any], status: int
) -> None:
    response = await person.post("/chat/message", {**body, "stream": True})

    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"


async def test_a_replayed_stream_ends_with_the_same_document(person: Person) -> None:
    key = {"Idempotency-Key": "k"}
    first = await stream(person, headers=key)
    again = await stream(person, headers=key)
    whole = await person.post("/chat/message", {"message": "Hello"}, headers=key)

    assert parse(again.text)[-1][2] == parse(first.text)[-1][2] == whole.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert await person.available() == 98


async def leave(
    person: Person, base_url: str, pause: Pause, *, stream: bool, key: str | None = None
) -> None:
    """Sends a message, and goes away when the generation stands at the pause."""
    body = {"message": "Hello", "stream": stream}
    headers = person.headers | ({"Idempotency-Key": key} if key else {})
    async with httpx.AsyncClient(base_url=base_url) as client:
        sending = asyncio.create_task(client.post("/chat/message", json=body, headers=headers))
        await pause.reached()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_client_that_goes_away_pays_for_the_part_that_was_generated(
    api: Api, person: Person, base_url: str, streamed: bool
) -> None:
    pause = Pause()
    api.engine.script_next(script("Forty ", pause, "two."))

    await leave(person, base_url, pause, stream=streamed)
    await api.settled()

    person.position = "0"
    answered = await latest(person)
    assert (answered["content"], answered["finish_reason"]) == ("Forty", "cancelled")
    assert (answered["cost"], answered["completion_tokens"]) == (2, 1)
    assert (await person.get("/billing/balance")).json()["available"] == 98
    assert api.engine.running == 0


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_client_that_goes_away_before_the_first_token_pays_nothing(
    api: Api, person: Person, base_url: str, streamed: bool
) -> None:
    pause = Pause()
    api.engine.script_next(script(pause, "Forty two."))

    with capture_logs() as logged:
        await leave(person, base_url, pause, stream=streamed)
        await api.settled()
        await until(lambda: any(line["event"] == "request" for line in logged))

    assert {line["log_level"] for line in logged} == {"info"}, "nothing is wrong with the service"
    assert api.engine.running == 0
    later = await person.post("/billing/add", {"amount": 1})
    assert later.json()["balance"] == {"available": 101, "held": 0}


async def test_what_a_client_left_is_there_under_its_key(
    api: Api, person: Person, base_url: str
) -> None:
    pause = Pause()
    api.engine.script_next(script("Forty ", pause, "two."))
    await leave(person, base_url, pause, stream=True, key="k")
    await api.settled()

    again = await person.post(
        "/chat/message", {"message": "Hello"}, headers={"Idempotency-Key": "k"}
    )

    assert again.headers["Idempotency-Replayed"] == "true"
    assert (again.json()["response"], again.json()["finish_reason"]) == ("Forty", "cancelled")


async def test_pieces_arrive_while_the_answer_is_under_way(
    api: Api, person: Person, base_url: str
) -> None:
    pause = Pause()
    api.engine.script_next(script("Forty ", pause, "two."))
    body = {"message": "Hello", "stream": True}
    async with (
        httpx.AsyncClient(base_url=base_url) as client,
        client.stream("POST", "/chat/message", json=body, headers=person.headers) as response,
    ):
        lines = response.aiter_lines()
        async with asyncio.timeout(10):
            before = [await anext(lines) for _ in range(7)]
        status = (await person.get("/chat/status")).json()
        pause.go_on()
        after = [line async for line in lines]

    assert 'data: {"text":"Forty "}' in before
    assert status["answers_under_way"] == 1
    assert 'data: {"text":"two."}' in after


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - polled
            await asyncio.sleep(0.01)


async def latest(person: Person) -> Any:
    """The newest message of the history, as soon as an answer is there."""
    async with asyncio.timeout(10):
        while True:
            items = (await person.get("/chat/history")).json()["items"]
            if items and items[0]["role"] == "assistant":
                return items[0]
            await asyncio.sleep(0.02)
