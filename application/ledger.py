"""The ledger as command handlers see it: load streams, decide, and commit all of it or nothing.

`eventsourcing` is at the centre: its Application (`event_store.py`), repository, mapper and
recorders. What is added is the unit of work that handlers are written against: a plain function
that loads states, calls deciders and adds events. It runs in a thread, is committed in one
transaction, and is run again from fresh states when somebody else wrote one of its streams first.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

from eventsourcing.persistence import IntegrityError, InterfaceError, OperationalError

from application.event_store import LedgerApplication
from application.ports import Clock
from application.snapshots import StateSnapshot, take_snapshot
from application.streams import S, StreamKind, StreamState
from domain.events import Event

T = TypeVar("T")

# Pauses between attempts to reach a database that is away.
_RETRY_S_MIN = 0.2
_RETRY_S_MAX = 2.0
_NO_TURN = "the ledger has more to do than it can at present; try again shortly"


class LedgerUnavailable(Exception):
    """PostgreSQL cannot be reached, or too many others wrote the same streams."""


class Transaction:
    """One attempt of one unit of work. Not shared between threads."""

    def __init__(self, application: LedgerApplication) -> None:
        self._application = application
        self._states: dict[UUID, tuple[StreamKind[Any], StreamState]] = {}
        self.events: list[Event] = []

    def load(self, kind: StreamKind[S], stream_id: UUID) -> S | None:
        """The committed state, moved on by what this transaction has added."""
        known = self._states.get(stream_id)
        if known is not None:
            return cast("S", known[1])
        state = self._application.load(kind, stream_id)
        if state is not None:
            self._states[stream_id] = (kind, state)
        return state

    def add(self, kind: StreamKind[Any], *events: Event) -> None:
        for event in events:
            state = self.load(kind, event.originator_id)
            self._states[event.originator_id] = (kind, kind.evolve(state, event))
            self.events.append(event)

    def changed(self) -> list[tuple[StreamKind[Any], StreamState, int]]:
        """Kind, state and number of added events of every stream that was written."""
        added: dict[UUID, int] = {}
        for event in self.events:
            added[event.originator_id] = added.get(event.originator_id, 0) + 1
        return [(*self._states[stream_id], count) for stream_id, count in added.items()]


@dataclass(frozen=True, kw_only=True)
class Committed(Generic[T]):
    """position: of the last event, for read-your-own-writes; None where nothing was written."""

    value: T
    position: int | None


@dataclass(frozen=True, kw_only=True)
class LedgerLimits:
    """threads: how many transactions run at once. conflict_retries_max: how often one is decided
    anew because another process wrote first. wait_s_max: how long a call waits for its turn, and
    for a thread: while the database is away, those in front each take their time."""

    threads: int = 8
    conflict_retries_max: int = 16
    wait_s_max: float = 5.0


@dataclass(frozen=True)
class _Unit(Generic[T]):
    """in_doubt: attempts whose commit may have happened although its answer never came."""

    work: Callable[[Transaction], T]
    in_doubt: list[tuple[Transaction, T]] = field(default_factory=list)


class Ledger:
    """The asynchronous face of the application."""

    def __init__(self, application: LedgerApplication, clock: Clock, limits: LedgerLimits) -> None:
        self._application = application
        self._clock = clock
        self._limits = limits
        self._executor = ThreadPoolExecutor(limits.threads, thread_name_prefix="ledger")
        self._locks: dict[UUID, tuple[asyncio.Lock, int]] = {}

    async def load(self, kind: StreamKind[S], stream_id: UUID) -> S | None:
        """Raises LedgerUnavailable."""
        return await self._in_thread(partial(self._application.load, kind, stream_id))

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """What `work` makes of the states it loads, in one turn of one thread; it adds nothing.

        Raises LedgerUnavailable, and what `work` raises.
        """
        return await self._in_thread(lambda: work(Transaction(self._application)))

    async def load_at(self, kind: StreamKind[S], stream_id: UUID, at: datetime) -> S | None:
        """Raises LedgerUnavailable."""
        return await self._in_thread(partial(self._application.load_at, kind, stream_id, at))

    async def transact(
        self,
        work: Callable[[Transaction], T],
        *,
        streams: tuple[UUID, ...] = (),
        patience_s: float = 0.0,
    ) -> Committed[T]:
        """Run `work` until it commits. A refusal raised by `work` ends it with nothing written.

        streams: what it is likely to write together with others; within this process such
        transactions take turns, so that the database sees no needless conflicts.
        patience_s: how long a database that is away is waited for, beyond the first attempt.

        Raises LedgerUnavailable; then it may have been committed all the same.
        """
        unit = _Unit(work)
        clock = asyncio.get_running_loop().time
        deadline = clock() + patience_s
        pause_s = _RETRY_S_MIN
        while True:
            try:
                return await self._transact(unit, streams)
            except LedgerUnavailable:
                if clock() + pause_s >= deadline:
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _RETRY_S_MAX)

    async def _transact(self, unit: _Unit[T], streams: tuple[UUID, ...]) -> Committed[T]:
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._limits.wait_s_max):
                    for stream_id in sorted(set(streams)):
                        await stack.enter_async_context(self._turn(stream_id))
            except TimeoutError:
                raise LedgerUnavailable(_NO_TURN) from None
            # A commit that is under way is finished even when its caller goes away.
            task = asyncio.ensure_future(self._in_thread(partial(self._attempts, unit)))
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                await asyncio.wait([task])
                if not task.cancelled():
                    task.exception()  # taken note of: nobody is left to hear it
                raise

    def close(self) -> None:
        self._executor.shutdown(wait=True)
        self._application.close()

    @asynccontextmanager
    async def _turn(self, stream_id: UUID) -> AsyncIterator[None]:
        lock, users = self._locks.get(stream_id, (asyncio.Lock(), 0))
        self._locks[stream_id] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(stream_id)
            if users > 1:
                self._locks[stream_id] = (lock, users - 1)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        latest = loop.time() + self._limits.wait_s_max

        def call_in_time() -> T:
            if loop.time() > latest:
                raise LedgerUnavailable(_NO_TURN)
            return call()

        try:
            return await loop.run_in_executor(self._executor, call_in_time)
        except (OperationalError, InterfaceError) as error:
            raise LedgerUnavailable("the ledger's database cannot be reached") from error

    def _attempts(self, unit: _Unit[T]) -> Committed[T]:
        for _ in range(1 + self._limits.conflict_retries_max):
            if (found := self._found(unit)) is not None:
                return found
            transaction = Transaction(self._application)
            value = unit.work(transaction)
            if not transaction.events:
                return Committed(value=value, position=None)
            unit.in_doubt.append((transaction, value))
            try:
                recordings = self._application.save(*transaction.events)
            except IntegrityError:
                if (found := self._found(unit)) is not None:
                    return found
                # Another's events have these versions, so these will never be stored.
                unit.in_doubt.pop()
                continue
            self._after_commit(transaction)
            return Committed(value=value, position=recordings[-1].notification.id)
        raise LedgerUnavailable("too many others wrote to the same account at once; try again")

    def _found(self, unit: _Unit[T]) -> Committed[T] | None:
        """The attempt that was committed without our knowing, if one was."""
        for transaction, value in unit.in_doubt:
            position = self._application.stored_position(transaction.events[-1])
            if position is not None:
                self._after_commit(transaction)
                return Committed(value=value, position=position)
        return None

    def _after_commit(self, transaction: Transaction) -> None:
        for kind, state, count in transaction.changed():
            self._application.remember(state)
            if state.version // kind.snapshot_interval > (
                (state.version - count) // kind.snapshot_interval
            ):
                self._snapshot(take_snapshot(kind, state, self._clock.now()))

    def _snapshot(self, snapshot: StateSnapshot) -> None:
        assert self._application.snapshots is not None
        try:
            self._application.snapshots.put([snapshot])
        except (IntegrityError, OperationalError, InterfaceError):
            # A snapshot only saves time: another writer took the same one, or the next will do.
            return
