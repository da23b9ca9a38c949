"""The service is stopped while it answers, by a person or a service manager; a client leaves."""

import asyncio
import random
import time
from decimal import Decimal
from uuid import UUID

import httpx
import pytest

from tests.faults.checks import all_is_well, model_is_loaded, no_hold_is_left, under_load
from tests.faults.load import Load
from tests.faults.processes import processes_of
from tests.faults.told import server_events
from tests.support.service import RunningService

# Generous: how long it really takes is printed here and measured in benchmarks/.
STOPPED_WITHIN_S = 25
STARTED_WITHIN_S = 40
SETTLED_WITHIN_S = 10
TOKENS_MAX = 250
STOPS_WHILE_LOADING = 4
PRICE = Decimal(2)


@pytest.fixture
def patient(service: RunningService) -> RunningService:
    """No hold expires within a test, so one that is left over is seen; no answer times out."""
    service.env |= {"HOLD_TTL_S": "3600", "GENERATION_TIMEOUT_S": "60"}
    return service


async def test_a_stop_in_the_middle_of_answers_settles_them_and_leaves_nothing_running(
    patient: RunningService, seed: int
) -> None:
    service = patient
    load = await under_load(service, seed)
    cut: list[tuple[UUID, str]] = []
    for name, stop in (("SIGINT", service.stop), ("SIGTERM", service.terminate)):
        load.start()
        await load.some_answers(1)
        first_delta = asyncio.Event()
        stream = asyncio.create_task(read_deltas(load, TOKENS_MAX, first_delta))
        await first_delta.wait()
        await load.random_moment(0.5)
        processes = processes_of(service)
        began = time.monotonic()
        assert await asyncio.to_thread(stop) == 0
        stopped_s = time.monotonic() - began
        assert stopped_s < STOPPED_WITHIN_S
        assert [process for process in processes if process.is_running()] == []
        await load.stop()
        cut.append(await stream)

        began = time.monotonic()
        await asyncio.to_thread(service.start)
        started_s = time.monotonic() - began
        print(f"{name}: stopped in {stopped_s:.2f} s, ready again in {started_s:.2f} s")
        assert started_s < STARTED_WITHIN_S
        await no_hold_is_left(load, SETTLED_WITHIN_S)
    ledger = await all_is_well(service, load, SETTLED_WITHIN_S)
    for message_id, text in cut:
        assert ledger.answers[message_id].text.startswith(text.strip())
    # The model may have found an end by itself before the stop came, but hardly twice.
    endings = [ledger.answers[message_id].finish_reason for message_id, _ in cut]
    assert "cancelled" in endings
    assert set(endings) <= {"cancelled", "stop"}
    assert service.stop() == 0


async def test_a_stop_while_the_model_is_loaded_ends_as_cleanly(
    service: RunningService, seed: int
) -> None:
    delays = random.Random(seed)
    for _ in range(STOPS_WHILE_LOADING):
        await asyncio.to_thread(service.start)
        print("loaded already" if model_is_loaded(service) else "loading")
        await asyncio.sleep(delays.uniform(0, 0.5))
        assert await asyncio.to_thread(service.stop) == 0, service.log()
    assert "terminate called" not in service.log()


async def test_a_client_who_leaves_pays_once_for_what_was_generated_until_then(
    patient: RunningService, seed: int
) -> None:
    service = patient
    load = await under_load(service, seed, users=1)
    before = await balance(load)
    left: list[tuple[UUID, str]] = []
    for deltas in (1, 4, 10):
        left.append(await read_deltas(load, deltas))
        began = time.monotonic()
        await no_hold_is_left(load, SETTLED_WITHIN_S)
        print(f"settled {time.monotonic() - began:.2f} s after the client had left")
    for _ in left:
        await leave_before_the_answer(load)
        await no_hold_is_left(load, SETTLED_WITHIN_S)
    ledger = await all_is_well(service, load, SETTLED_WITHIN_S)
    streamed = {message_id: ledger.answers[message_id] for message_id, _ in left}
    for message_id, text in left:
        assert streamed[message_id].text.startswith(text.strip())
    # A short answer may end before its client can leave, but not every one does.
    cut = [answer for answer in streamed.values() if answer.finish_reason == "cancelled"]
    assert cut
    assert all(answer.completion_tokens < TOKENS_MAX for answer in cut)
    others = [a.finish_reason for i, a in ledger.answers.items() if i not in streamed]
    others += [failure.reason for failure in ledger.failures.values()]
    assert len(others) == len(left) + 1
    assert "cancelled" in others
    assert await balance(load) == before - PRICE * (len(ledger.answers) - 1)
    assert service.stop() == 0


async def leave_before_the_answer(load: Load) -> None:
    """Sends a message without `stream` and closes the connection."""
    user = load.users[0]
    async with httpx.AsyncClient(base_url=load.api_url, trust_env=False) as client:
        request = client.post("/chat/message", json=long_answer(load), headers=user.headers)
        leaving = asyncio.create_task(request)
        while (await load.get(user, "/billing/balance")).json()["held"] == 0:
            assert not leaving.done()
        await load.random_moment(0.5)
        leaving.cancel()
        await asyncio.wait([leaving])


def long_answer(load: Load) -> dict[str, object]:
    """At this temperature the model hardly ever finds an end by itself."""
    return {
        "message": "Tell a long story about a river.",
        "max_tokens": TOKENS_MAX,
        "temperature": 2,
        "top_p": 1,
        "seed": load.random_seed(),
    }


async def read_deltas(
    load: Load, count: int, first_delta: asyncio.Event | None = None
) -> tuple[UUID, str]:
    """The answer's id and text until `count` deltas have come or the stream ends."""
    user = load.users[0]
    message_id: object = None
    text: list[str] = []
    body = {**long_answer(load), "stream": True}
    async with (
        httpx.AsyncClient(base_url=load.api_url, timeout=60, trust_env=False) as client,
        client.stream("POST", "/chat/message", json=body, headers=user.headers) as response,
    ):
        try:
            async for name, document in server_events(response):
                if name == "started":
                    message_id = document["message_id"]
                if name == "delta":
                    text.append(document["text"])
                    if first_delta is not None:
                        first_delta.set()
                if len(text) >= count:
                    break
        except httpx.TransportError:
            pass
    return UUID(str(message_id)), "".join(text)


async def balance(load: Load) -> Decimal:
    response = await load.get(load.users[0], "/billing/balance")
    return Decimal(str(response.json()["available"]))
