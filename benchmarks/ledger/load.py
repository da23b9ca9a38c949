"""Commands through the application layer as in the service: decide, commit, answer."""

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from uuid import UUID

from application.chat.answer import Generated, Started
from application.chat.hold import Holds
from application.chat.inference import (
    FinishReason,
    GenerationRequest,
    PreparedPrompt,
    Sampling,
)
from application.chat.prompt import PreparedMessage
from application.chat.settlement import Settlement
from application.chat.stages import Stages
from application.ledger.ledger import Ledger, LedgerLimits, Transaction
from application.ledger.streams import ACCOUNT
from benchmarks.keys import LEDGER_KEYS
from domain.accounts import commands as c
from domain.accounts.decider import decide as decide_account
from domain.accounts.events import Direction
from domain.identifiers import account_id
from domain.pricing.price import per_message
from infrastructure.event_store.recorder import open_application
from infrastructure.process.clock_ids import SystemClock, TimeOrderedIds

_HOLD_MICRO = 2_000_000
_CACHED_PRICE = per_message(0)
_RETRY = timedelta(seconds=1)
_HOLD_TTL = timedelta(hours=1)
_MODEL = "gemma3-1b"
PROMPT = PreparedPrompt(model=_MODEL, token_ids=tuple(range(24)), turns_dropped=0, max_tokens=100)
GENERATED = Generated(
    text="A credit is held before the first token and captured with the last one. " * 2,
    finish_reason=FinishReason.STOP,
    completion_tokens=40,
    seed=7,
    manifest_hash="c0ffee" * 8,
)


@dataclass(frozen=True)
class Round:
    """Commands per second, and each command's latency in ms as its caller saw it."""

    rate: float
    latencies_ms: list[float]


class LedgerLoad:
    """One process of the service, without HTTP and model."""

    def __init__(self, service_url: str) -> None:
        self.application = open_application(
            service_url, LEDGER_KEYS, threads=8, connect_timeout_s=5, cached_streams_max=20_000
        )
        self.clock = SystemClock()
        self.ids = TimeOrderedIds()
        self.ledger = Ledger(self.application, self.clock, LedgerLimits())

    async def close(self) -> None:
        await self.ledger.aclose()

    async def users(self, count: int) -> list[UUID]:
        """New users, each with enough credits for the whole benchmark."""
        users = [self.ids.new_id() for _ in range(count)]
        # Each is looked for in the store first, and reads may wait there for a limited time only.
        for some in (users[begin : begin + 500] for begin in range(0, count, 500)):
            await asyncio.gather(*(self.ledger.transact(partial(self._open, u)) for u in some))
        return users

    async def settlements(self, users: list[UUID], callers: int) -> Round:
        """Settles one answer for each user. callers: how many settle at a time, each one answer
        after the other. The holds are made before the clock starts."""
        holds = await self.holds(users)
        waiting = [holds[number::callers] for number in range(callers)]
        latencies_ms: list[float] = []

        async def caller(answers: list[Started]) -> None:
            for started in answers:
                settlement = self.settlement(started)
                began = time.perf_counter()
                await settlement.deliver(GENERATED)
                latencies_ms.append((time.perf_counter() - began) * 1000)

        began = time.perf_counter()
        await asyncio.gather(*(caller(answers) for answers in waiting))
        seconds = time.perf_counter() - began
        return Round(len(latencies_ms) / seconds, latencies_ms)

    async def holds(self, users: list[UUID]) -> list[Started]:
        return await asyncio.gather(*(self._hold(user) for user in users))

    def settlement(self, started: Started) -> Settlement:
        return Settlement(
            ledger=self.ledger,
            clock=self.clock,
            started=started,
            prompt=PROMPT,
            stages=Stages(),
            manifest_hash="unused",
            computed_on=None,
            cached_price=_CACHED_PRICE,
            key=None,
            retry=_RETRY,
        )

    async def one_account(self, user: UUID, *, callers: int, each: int) -> Round:
        """All callers write the same account: corrections of one micro-credit."""
        latencies_ms: list[float] = []

        def work(transaction: Transaction) -> int:
            state = transaction.load(ACCOUNT, account_id(user))
            adjust = c.AdjustCredits(
                adjustment_id=self.ids.new_id(),
                direction=Direction.DEBIT,
                amount_micro=1,
                reason="benchmark",
                adjusted_by=user,
            )
            transaction.add(ACCOUNT, *decide_account(adjust, state, self.clock.now()))
            return 1

        async def caller() -> None:
            for _ in range(each):
                began = time.perf_counter()
                await self.ledger.transact(work)
                latencies_ms.append((time.perf_counter() - began) * 1000)

        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(callers)))
        return Round(len(latencies_ms) / (time.perf_counter() - began), latencies_ms)

    async def grow(self, user: UUID, events: int) -> None:
        """Adds this many events to the account, in large commits; snapshots as in the service."""
        done = 0
        while done < events:
            number = min(1000, events - done)

            def work(transaction: Transaction, number: int = number) -> None:
                for _ in range(number):
                    adjust = c.AdjustCredits(
                        adjustment_id=self.ids.new_id(),
                        direction=Direction.DEBIT,
                        amount_micro=1,
                        reason="benchmark",
                        adjusted_by=user,
                    )
                    state = transaction.load(ACCOUNT, account_id(user))
                    transaction.add(ACCOUNT, *decide_account(adjust, state, self.clock.now()))

            await self.ledger.transact(work)
            done += number

    def _open(self, user: UUID, transaction: Transaction) -> None:
        now = self.clock.now()
        opened = c.OpenAccount(account_id=account_id(user), user_id=user)
        transaction.add(ACCOUNT, *decide_account(opened, None, now))
        purchase = c.PurchaseCredits(
            purchase_id=self.ids.new_id(),
            amount_micro=10**11,
            bonus_id=self.ids.new_id(),
            bonus_micro=0,
            package_id=None,
            development=True,
        )
        state = transaction.load(ACCOUNT, account_id(user))
        transaction.add(ACCOUNT, *decide_account(purchase, state, now))

    async def _hold(self, user: UUID) -> Started:
        message = PreparedMessage(
            user_id=user,
            conversation_id=self.ids.new_id(),
            text="What is a hold?",
            price=per_message(_HOLD_MICRO),
            request=GenerationRequest(
                prompt=PROMPT, max_tokens=PROMPT.max_tokens, sampling=Sampling(seed=7)
            ),
            key=None,
        )
        holds = Holds(ledger=self.ledger, clock=self.clock, ids=self.ids, ttl=_HOLD_TTL)
        return (await holds.commit(message)).value
