"""A person or a service manager who ends the service while it answers, and a client who leaves."""

import asyncio
import time
from decimal import Decimal
from uuid import UUID

import httpx
import pytest

from tests.faults.checks import all_is_well, no_hold_is_left, under_load
from tests.faults.load import Load
from tests.faults.processes import processes_of
from tests.faults.told import server_events
from tests.support.service import RunningService

# Generous: how long it really takes is printed here and measured in benchmarks/.
STOPPED_WITHIN_S = 25
STARTED_WITHIN_S = 40
SETTLED_WITHIN_S = 10
TOKENS_MAX = 250
PRICE = Decimal(2)


@pytest.fixture
def patient(service: RunningService) -> RunningService:
    """Its holds do not expire within a test: one that is left over is seen. Nor does an answer
    take too long."""
    service.env |= {"HOLD_TTL_S": "3600", "GENERATION_TIMEOUT_S": "60"}
    return service


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM"])
async def test_a_stop_in_the_middle_of_answers_settles_them_and_leaves_nothing_running(
    patient: RunningService, seed: int, how: str
) -> None:
    service = patient
    load = await under_load(service, seed)
    load.start(workers_per_user=1)
    await load.some_answers(1)
    first_delta = asyncio.Event()
    stream = asyncio.create_task(read_deltas(load, 10_000, first_delta))
    await first_delta.wait()
    await load.random_moment(0.5)
    processes = processes_of(service)
    began = time.monotonic()
    status = await asyncio.to_thread(service.stop if how == "SIGINT" else service.terminate)
    stopped_s = time.monotonic() - began
    assert status == 0, service.log()
    assert stopped_s < STOPPED_WITHIN_S
    assert [process for process in processes if process.is_running()] == []
    await load.stop()
    message_id, text = await stream

    began = time.monotonic()
    await asyncio.to_thread(service.start)
    started_s = time.monotonic() - began
    print(f"{how}: stopped in {stopped_s:.2f} s, ready again in {started_s:.2f} s")
    assert started_s < STARTED_WITHIN_S
    await no_hold_is_left(load, SETTLED_WITHIN_S)
    ledger = await all_is_well(service, load, SETTLED_WITHIN_S)
    answer = ledger.answers[message_id]
    assert answer.finish_reason == "cancelled"
    assert answer.text.startswith(text.strip())
    assert service.stop() == 0


@pytest.mark.parametrize("deltas", [1, 5])
async def test_a_client_who_leaves_in_mid_stream_pays_once_for_what_was_generated(
    patient: RunningService, seed: int, deltas: int
) -> None:
    service = patient
    load = await under_load(service, seed, users=1)
    before = await balance(load)
    message_id, text = await read_deltas(load, deltas)
    began = time.monotonic()
    await no_hold_is_left(load, SETTLED_WITHIN_S)
    print(f"settled {time.monotonic() - began:.2f} s after the client had left")
    assert await balance(load) == before - PRICE
    await no_hold_is_left(load, SETTLED_WITHIN_S)
    ledger = await all_is_well(service, load, SETTLED_WITHIN_S)
    answer = ledger.answers[message_id]
    assert answer.finish_reason == "cancelled"
    assert answer.text.startswith(text.strip())
    assert answer.completion_tokens < TOKENS_MAX
    assert service.stop() == 0


async def test_a_client_who_leaves_before_the_whole_answer_pays_once_or_nothing(
    patient: RunningService, seed: int
) -> None:
    service = patient
    load = await under_load(service, seed, users=1)
    user = load.users[0]
    async with httpx.AsyncClient(base_url=service.api_url, trust_env=False) as client:
        request = client.post("/chat/message", json=long_answer(seed), headers=user.headers)
        leaving = asyncio.create_task(request)
        while (await load.get(user, "/billing/balance")).json()["held"] == 0:
            assert not leaving.done()
        await load.random_moment(0.5)
        leaving.cancel()
        await asyncio.wait([leaving])
    await no_hold_is_left(load, SETTLED_WITHIN_S)
    ledger = await all_is_well(service, load, SETTLED_WITHIN_S)
    assert len(ledger.prompts) == 2
    reasons = [answer.finish_reason for answer in ledger.answers.values()]
    reasons += [failure.reason for failure in ledger.failures.values()]
    assert "cancelled" in reasons
    assert service.stop() == 0


def long_answer(seed: int) -> dict[str, object]:
    """At this temperature the model hardly ever finds an end by itself."""
    return {
        "message": "Tell a long story about a river.",
        "max_tokens": TOKENS_MAX,
        "temperature": 2,
        "top_p": 1,
        "seed": seed,
    }


async def read_deltas(
    load: Load, count: int, first_delta: asyncio.Event | None = None
) -> tuple[UUID, str]:
    """The answer's id and text until `count` deltas have come or the stream ends."""
    user = load.users[0]
    message_id: object = None
    text: list[str] = []
    body = {**long_answer(len(load.sent)), "stream": True}
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
