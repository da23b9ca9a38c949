"""The event-sourced application: load streams, decide, and commit all of it or nothing.

`eventsourcing` is at the centre: its Application, repository, mapper and recorders. What is
added is the unit of work that command handlers are written against: a plain function that loads
states, calls deciders and adds events. It runs in a thread, is committed in one transaction, and
is run again from fresh states when somebody else wrote one of its streams first.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import takewhile
from typing import Any, ClassVar, Generic, TypeVar, cast
from uuid import UUID

from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.persistence import (
    ApplicationRecorder,
    IntegrityError,
    InterfaceError,
    Mapper,
    OperationalError,
)

from application.mapping import EventMapper
from application.ports import Clock
from application.snapshots import OtherKind, StaleSnapshot, StateSnapshot, fold, take_snapshot
from application.streams import S, StreamKind, StreamState
from domain.events import Event

T = TypeVar("T")


class LedgerUnavailable(Exception):
    """PostgreSQL cannot be reached, or too many others wrote the same streams."""


class LedgerApplication(Application[UUID]):
    """The table names are this name's: ledger_events, ledger_snapshots."""

    name = "ledger"
    is_snapshotting_enabled = True
    env: ClassVar[dict[str, str]] = {
        "COMPRESSOR_TOPIC": "",
        "AGGREGATE_CACHE_MAXSIZE": "2000",
        # States are immutable: a copy would only cost time.
        "DEEPCOPY_FROM_AGGREGATE_CACHE": "n",
        "CREATE_TABLE": "n",
    }

    def construct_mapper(self) -> Mapper[UUID]:
        return EventMapper()

    def load(self, kind: StreamKind[S], stream_id: UUID) -> S | None:
        """The state as of the last commit; None where there is no such stream of this kind."""
        project: Any = partial(fold, kind)
        try:
            loaded: Any = self.repository.get(stream_id, projector_func=project)
        except (AggregateNotFoundError, OtherKind):
            return None
        except StaleSnapshot:
            loaded = self._refold(kind, stream_id)
            if loaded is None:
                return None
        self.remember(loaded)
        return cast("S | None", loaded)

    def load_at(self, kind: StreamKind[S], stream_id: UUID, at: datetime) -> S | None:
        """The state as it was at a time, from its events alone."""
        events = cast("Iterable[Event]", self.events.get(stream_id))
        return fold(kind, None, takewhile(lambda event: event.timestamp <= at, events))

    def _refold(self, kind: StreamKind[S], stream_id: UUID) -> S | None:
        try:
            return fold(kind, None, cast("Iterable[Event]", self.events.get(stream_id)))
        except OtherKind:
            return None

    def remember(self, state: Any) -> None:
        """The library's cache moves a mutable aggregate forward in place; an immutable state has
        to be put back."""
        if self.repository.cache is not None:
            self.repository.cache.put(state.id, state)

    def stored_position(self, event: Event) -> int | None:
        """The position at which exactly this event is stored, or None.

        A connection lost during a commit leaves open whether it happened, and the recorder's
        retry then meets its own rows. Events carry fresh ids, so equal bytes are the same event.
        """
        stored = self.mapper.to_stored_event(event)
        version = event.originator_version
        found = self.recorder.select_events(event.originator_id, gt=version - 1, lte=version)
        if not found or found[0].state != stored.state or found[0].topic != stored.topic:
            return None
        return cast("PositionRecorder", self.recorder).position_of(event.originator_id, version)


class PositionRecorder(ApplicationRecorder):
    """What the application asks of its recorder beyond the library's contract."""

    def position_of(self, originator_id: UUID, originator_version: int) -> int | None:
        raise NotImplementedError


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
    anew because another process wrote first."""

    threads: int = 8
    conflict_retries_max: int = 16


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

    async def load_at(self, kind: StreamKind[S], stream_id: UUID, at: datetime) -> S | None:
        """Raises LedgerUnavailable."""
        return await self._in_thread(partial(self._application.load_at, kind, stream_id, at))

    async def transact(
        self, work: Callable[[Transaction], T], *, streams: tuple[UUID, ...] = ()
    ) -> Committed[T]:
        """Run `work` until it commits. A refusal raised by `work` ends it with nothing written.

        streams: what it is likely to write together with others; within this process such
        transactions take turns, so that the database sees no needless conflicts.

        Raises LedgerUnavailable.
        """
        async with AsyncExitStack() as stack:
            for stream_id in sorted(set(streams)):
                await stack.enter_async_context(self._turn(stream_id))
            # A commit that is under way is finished even when its caller goes away.
            task = asyncio.ensure_future(self._in_thread(partial(self._attempts, work)))
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                await asyncio.wait([task])
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
        try:
            return await loop.run_in_executor(self._executor, call)
        except (OperationalError, InterfaceError) as error:
            raise LedgerUnavailable("the ledger's database cannot be reached") from error

    def _attempts(self, work: Callable[[Transaction], T]) -> Committed[T]:
        for _ in range(1 + self._limits.conflict_retries_max):
            transaction = Transaction(self._application)
            value = work(transaction)
            if not transaction.events:
                return Committed(value=value, position=None)
            try:
                recordings = self._application.save(*transaction.events)
                position: int | None = recordings[-1].notification.id
            except IntegrityError:
                position = self._application.stored_position(transaction.events[-1])
                if position is None:
                    continue
            self._after_commit(transaction)
            return Committed(value=value, position=position)
        raise LedgerUnavailable("too many others wrote to the same account at once; try again")

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
