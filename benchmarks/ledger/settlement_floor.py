"""What a settlement costs in Python, and the least that it could cost.

The floor makes the two events, encodes them, keeps them as a commit's rows, waits once and makes
the answer: nothing is loaded, decided, checked or remembered. Above it stands the application as
it is, over a store that keeps nothing and answers in the loop's next turn. Both are measured in
processor time and in slices of a few milliseconds, the fastest tenth of which is hardly affected
by other work on the machine.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from statistics import quantiles
from uuid import UUID

from application.chat.answer import Answer, Started
from application.ledger.commits import Commit
from application.ledger.event_store import LedgerApplication
from application.ledger.ledger import Ledger, LedgerLimits
from application.ledger.mapping import EventMapper
from benchmarks.figures import Figure
from benchmarks.keys import LEDGER_KEYS
from benchmarks.ledger.load import GENERATED, LedgerLoad
from domain.accounts.events import Balance, CreditsDebited
from domain.conversations.events import ResponseGenerated
from domain.events import header
from domain.identifiers import account_id
from infrastructure.event_store import commit_sql
from infrastructure.event_store.commit_waiting import Waiting
from infrastructure.process.clock_ids import SystemClock, TimeOrderedIds
from infrastructure.process.garbage import collect_seldom

_CALLERS = 64
_SLICE = 256
_ACCOUNTS = 8 * _SLICE


class NoStore:
    """Encodes as the group commit does, stores nothing, and answers all that came in one turn of
    the loop in the next."""

    def __init__(self) -> None:
        self._waiting: list[Waiting] = []
        self._position = 0

    def commit_queue(self) -> "NoStore":
        return self

    def submit(self, commit: Commit) -> None:
        self._waiting.append(Waiting(commit, 0.0))
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._answer)

    def _answer(self) -> None:
        batch, self._waiting = self._waiting, []
        commits = [waiting.commit for waiting in batch]
        commit_sql.insert_parameters(
            [waiting.rows for waiting in batch],
            commit_sql.ties_of(commits),
            [commit.reads for commit in commits],
        )
        for commit in commits:
            first = self._position + 1
            self._position += len(commit.events)
            commit.stored(range(first, self._position + 1))

    async def drain(self) -> None:
        """Nothing waits longer than a turn of the loop."""

    def stop(self) -> None:
        """There is nothing to close."""


class LoadWithoutStore(LedgerLoad):
    def __init__(self) -> None:
        self.application = LedgerApplication(
            {"PERSISTENCE_MODULE": "eventsourcing.popo"},
            keys=LEDGER_KEYS,
            cached_streams_max=20_000,
        )
        # The application casts whatever its recorder is.
        self.application.recorder = NoStore()  # type: ignore[assignment]
        self.clock = SystemClock()
        self.ids = TimeOrderedIds()
        self.ledger = Ledger(self.application, self.clock, LedgerLimits())


class _Floor:
    def __init__(self, store: NoStore) -> None:
        self._store = store
        self._to_stored_event = EventMapper(LEDGER_KEYS).to_stored_event
        self._clock = SystemClock()

    async def settle(self, started: Started) -> Answer:
        now = self._clock.now()
        debited = CreditsDebited(
            **header(account_id(started.user_id), 4, now),
            user_id=started.user_id,
            balance=Balance(paid_micro=10**11, promotional_micro=0, held_micro=0),
            hold_id=started.hold_id,
            amount_micro=started.held_micro,
            released_micro=0,
            shares=(),
            message_id=started.message_id,
            conversation_id=started.conversation_id,
            model=started.model,
            price=started.price,
            prompt_tokens=24,
            completion_tokens=40,
        )
        response = ResponseGenerated(
            **header(started.conversation_id, 3, now),
            user_id=started.user_id,
            prompt_id=started.prompt_id,
            response_id=started.message_id,
            hold_id=started.hold_id,
            text=GENERATED.text,
            model=started.model,
            manifest_hash="c0ffee" * 8,
            computed_on=None,
            finish_reason="stop",
            prompt_tokens=24,
            completion_tokens=40,
            turns_dropped=0,
            seed=7,
            price=started.price,
            cost_micro=started.held_micro,
            cached=False,
            latency_ms=1,
        )
        commit = Commit([self._to_stored_event(debited), self._to_stored_event(response)])
        self._store.submit(commit)
        await commit.waiter()
        return Answer(
            message_id=started.message_id,
            conversation_id=started.conversation_id,
            model=started.model,
            response=GENERATED.text,
            finish_reason="stop",
            prompt_tokens=24,
            completion_tokens=40,
            cost_micro=started.held_micro,
            available_micro=10**11,
            held_micro=0,
            cached=False,
            latency_ms=1,
        )


async def slice_us(
    settle: Callable[[Started], Awaitable[Answer]], holds: Sequence[Started]
) -> float:
    async def caller(some: Sequence[Started]) -> None:
        for started in some:
            await settle(started)

    began_s = time.process_time()
    await asyncio.gather(*(caller(holds[n::_CALLERS]) for n in range(_CALLERS)))
    return 1e6 * (time.process_time() - began_s) / len(holds)


async def measure(*, turns: int) -> list[Figure]:
    """turns: how often each of the two settles on every account."""
    load = LoadWithoutStore()
    floor = _Floor(NoStore())
    users: list[UUID] = await load.users(_ACCOUNTS)
    collect_seldom()
    costs_us: dict[str, list[float]] = {"floor": [], "application": []}
    for _ in range(turns):
        for begin in range(0, _ACCOUNTS, _SLICE):
            holds = await load.holds(users[begin : begin + _SLICE])
            costs_us["floor"].append(await slice_us(floor.settle, holds))
            costs_us["application"].append(
                await slice_us(lambda one: load.settlement(one).deliver(GENERATED), holds)
            )
    tenths = {name: quantiles(costs, n=10)[0] for name, costs in costs_us.items()}
    conditions = f"{_CALLERS} callers, processor time, fastest tenth of {turns * 8} slices"
    return [
        Figure(
            what="Python of a settlement, floor",
            unit="µs",
            value=tenths["floor"],
            conditions=f"two events made, encoded, waited for once, answered; {conditions}",
        ),
        Figure(
            what="Python of a settlement without the connection",
            unit="µs",
            value=tenths["application"],
            conditions=conditions,
        ),
    ]
