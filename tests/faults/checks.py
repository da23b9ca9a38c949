"""What the users of a load were told, compared with what the ledger says."""

import asyncio
from collections import Counter
from decimal import Decimal
from uuid import UUID

import httpx

from domain.credits import MICRO_PER_CREDIT
from domain.identifiers import idempotency_claim_id
from tests.faults.audit import Ledger, audit, caught_up
from tests.faults.load import Load
from tests.faults.processes import database_url, until
from tests.faults.told import Sent
from tests.support.service import RunningService

MODEL_LOADED_WITHIN_S = 60


async def under_load(service: RunningService, seed: int, users: int = 3) -> Load:
    """Starts the service and loads the model. Returns a load of users that is not running yet."""
    await asyncio.to_thread(service.start)
    await until(lambda: model_is_loaded(service), MODEL_LOADED_WITHIN_S, "the model is loaded")
    load = Load(service, seed)
    await load.register(users)
    first = await load.send(load.users[0], max_tokens=8)
    assert first.answer is not None, first
    return load


def model_is_loaded(service: RunningService) -> bool:
    models = httpx.get(f"{service.api_url}/chat/models", timeout=MODEL_LOADED_WITHIN_S).json()
    return any(model["default"] and model["state"] == "ready" for model in models["items"])


async def all_is_well(
    service: RunningService, load: Load, settled_within_s: float, url: str | None = None
) -> Ledger:
    """Checks that every promise was kept. The service runs again and the load has stopped.

    settled_within_s: when the last hold must be gone. url: of a database that is not the
    service's own.
    """
    await load.retry_all()
    url = url or database_url(service)
    await no_hold_is_left(load, settled_within_s)
    behind_s = await caught_up(url)
    ledger = audit(url)
    for sent in load.sent:
        _check_told(sent, ledger)
    _check_keys(load, ledger)
    for user in load.users:
        await _check_queries(load, user_index=load.users.index(user), ledger=ledger)
    _check_log(service)
    print(_summary(load, ledger), f"read models caught up after {behind_s:.2f} s")
    return ledger


async def no_hold_is_left(load: Load, timeout_s: float) -> None:
    held = {user.user_id: Decimal(1) for user in load.users}

    async def look() -> None:
        for user in load.users:
            response = await load.get(user, "/billing/balance")
            if response.status_code == 200:
                held[user.user_id] = Decimal(str(response.json()["held"]))

    async with asyncio.timeout(timeout_s):
        while any(held.values()):
            await look()
            await asyncio.sleep(0.1)


def _check_told(sent: Sent, ledger: Ledger) -> None:
    if sent.answer is not None:
        assert sent.message_id is not None
        answer = ledger.answers[sent.message_id]
        debit = ledger.debits[sent.message_id]
        assert answer.user_id == sent.user.user_id == debit.user_id
        assert answer.text == sent.answer["response"]
        assert answer.completion_tokens == sent.answer["usage"]["completion_tokens"]
        assert Decimal(debit.amount_micro) / MICRO_PER_CREDIT == sent.answer["cost"]
    elif sent.problem is not None and sent.message_id is not None:
        nothing_charged = "nothing was charged" in sent.problem["detail"]
        assert not (nothing_charged and sent.message_id in ledger.debits), sent


def _check_keys(load: Load, ledger: Ledger) -> None:
    """A message has one answer and one debit, however often it was sent."""
    for sent in load.sent:
        if sent.key is not None:
            claim_id = idempotency_claim_id(sent.user.user_id, sent.key)
            assert len(ledger.answers_under(claim_id)) == 1, sent
    ids: dict[str, set[UUID]] = {}
    for sent in load.answered:
        if sent.key is not None:
            assert sent.message_id is not None
            ids.setdefault(sent.key, set()).add(sent.message_id)
    assert all(len(found) == 1 for found in ids.values())
    amounts = Counter(
        (bought.user.user_id, bought.amount * MICRO_PER_CREDIT) for bought in load.bought
    )
    assert amounts == Counter((e.user_id, e.amount_micro) for e in ledger.purchases)


async def _check_queries(load: Load, *, user_index: int, ledger: Ledger) -> None:
    user = load.users[user_index]
    state = ledger.of_user(user.user_id)
    balance = (await load.get(user, "/billing/balance")).json()
    assert Decimal(str(balance["available"])) * MICRO_PER_CREDIT == state.balance.available_micro
    assert balance["held"] == 0
    history = Counter(
        UUID(item["message_id"])
        for item in await load.items(user, "/chat/history")
        if item["role"] == "assistant"
    )
    own = [message_id for message_id, a in ledger.answers.items() if a.user_id == user.user_id]
    assert history == Counter(own)
    transactions = Counter(
        UUID(item["message_id"])
        for item in await load.items(user, "/billing/transactions")
        if item["type"] == "debit"
    )
    assert transactions == Counter(own)
    for message_id in own[:5] + own[-5:]:
        receipt = await load.get(user, f"/billing/receipts/{message_id}")
        assert receipt.status_code == 200, receipt.text


def _check_log(service: RunningService) -> None:
    """The log names faults in lines without stack traces, and only expected ones."""
    text = service.log()
    assert "Traceback" not in text, text
    assert "unexpected_error" not in text, text


def _summary(load: Load, ledger: Ledger) -> str:
    problems = Counter(sent.problem["code"] for sent in load.sent if sent.problem is not None)
    cut = sum(sent.cut for sent in load.sent)
    slowest_s = max((sent.seconds for sent in load.sent), default=0.0)
    buy_s = max((bought.seconds for bought in load.bought), default=0.0)
    failures = Counter(failure.reason for failure in ledger.failures.values())
    return (
        f"{len(load.sent)} sent, {len(load.answered)} answered, {cut} cut off, refused"
        f" {dict(problems)}, slowest {slowest_s:.1f} s; reads {load.reads}; {len(load.bought)}"
        f" bought, {sum(b.acknowledged for b in load.bought)} at once, slowest {buy_s:.1f} s;"
        f" ledger: {len(ledger.answers)} answers, failures {dict(failures)};"
    )


async def heals(service: RunningService, timeout_s: float) -> None:
    """The service is ready again by itself, and publishes to NATS."""

    def is_ready() -> bool:
        try:
            response = httpx.get(f"{service.api_url}/readyz", timeout=5)
        except httpx.TransportError:
            return False
        details = {part["name"]: part["detail"] for part in response.json()["components"]}
        return response.status_code == 200 and details["relay"] == "working"

    await until(is_ready, timeout_s, "/readyz")
