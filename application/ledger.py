"""Load streams, decide, and commit all of it or nothing: the face of the event-sourced
application.

Command handlers are plain functions that load states, call deciders and add events. One runs in
the event loop, on states in memory, without waiting for anything; its events are then submitted
to the recorder, which stores what many handlers have submitted in one transaction. What holds:

1. A handler's events are stored all or none, and `transact` returns only when they are.
2. It is decided on the newest states that this process knows, committed or not: commands of one
   busy account follow each other without waiting for the disk. Whatever was decided on a state
   that is then not stored is not stored either, and is decided again.
3. What is stored was decided on the states that were stored just before it, also where other
   processes write: the primary key proves it for the streams it wrote, and a check in the same
   transaction for those it only read. Otherwise it is decided again from fresh states.
4. A refusal, or an answer that needs no write, leaves the process only when every state it was
   decided on was stored, and was read from the store, or committed by us, during the call.
5. A caller that goes away takes nothing with it: what was submitted is finished.
6. Between deciding and submitting nothing else runs, so the order of decisions is the order of
   commits.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

from eventsourcing.persistence import DataError, IntegrityError, InterfaceError, OperationalError

from application.commits import Commit, LedgerBusy, LedgerUnavailable, PredecessorFailed
from application.event_application import LedgerApplication
from application.ports import Clock
from application.snapshots import take_snapshot
from application.state_cache import StateCache
from application.streams import S, StreamKind, StreamState
from application.transaction import Transaction

__all__ = [
    "Committed",
    "Ledger",
    "LedgerApplication",
    "LedgerBusy",
    "LedgerLimits",
    "LedgerUnavailable",
    "Transaction",
]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Committed(Generic[T]):
    """position: of the last event, for read-your-own-writes; None where nothing was written."""

    value: T
    position: int | None


@dataclass(frozen=True, kw_only=True)
class LedgerLimits:
    """threads: how many streams are read at once. conflict_retries_max: how often a command is
    decided anew because another process wrote first. decisions_max: how often it is decided at
    all: also when a stream had to be read, or what it was decided on was not stored.
    snapshots_waiting_max: to be written beside the commits."""

    threads: int = 8
    conflict_retries_max: int = 16
    decisions_max: int = 256
    snapshots_waiting_max: int = 64


class _StateMissing(BaseException):
    """A handler asks for a state that is not in memory. Not an Exception: no handler means to
    catch it."""

    def __init__(self, kind: StreamKind[Any], stream_id: UUID) -> None:
        self.kind = kind
        self.stream_id = stream_id


class _States:
    """What one attempt of a handler has seen. fresh: what was read from the store during the same
    call, by stream; None where there is nothing."""

    def __init__(self, cache: StateCache, fresh: dict[UUID, StreamState | None]) -> None:
        self._cache = cache
        self._fresh = fresh
        self.versions: dict[UUID, tuple[StreamKind[Any], int]] = {}
        self.after: list[Commit] = []
        self.unproven: list[tuple[StreamKind[Any], UUID]] = []

    def load(self, kind: StreamKind[S], stream_id: UUID) -> S | None:
        entry = self._cache.find(kind, stream_id)
        state: StreamState | None
        if entry is not None:
            state = entry.state
            if entry.commit is not None:
                self.after.append(entry.commit)
            elif stream_id not in self._fresh:
                self.unproven.append((kind, stream_id))
        elif stream_id in self._fresh:
            state = self._fresh[stream_id]
        else:
            raise _StateMissing(kind, stream_id)
        self.versions[stream_id] = (kind, 0 if state is None else state.version)
        return cast("S | None", state)


class _Command(Commit):
    """A commit that keeps the cache true."""

    __slots__ = ("_ledger", "changed", "read_ids", "written_ids")

    def __init__(self, ledger: "Ledger", states: _States, transaction: Transaction) -> None:
        to_stored_event = ledger.application.mapper.to_stored_event
        self._ledger = ledger
        self.changed = transaction.changed()
        self.written_ids = [state.id for _, state, _ in self.changed]
        reads: list[tuple[UUID, int]] = []
        if len(states.versions) > len(self.written_ids):
            reads = [
                (stream_id, version + 1)
                for stream_id, (_, version) in states.versions.items()
                if stream_id not in self.written_ids
            ]
        super().__init__(
            [to_stored_event(event) for event in transaction.events],
            reads=reads,
            after=states.after,
        )

    def on_settled(self) -> None:
        self._ledger.on_settled(self)


class Ledger:
    """The asynchronous face of the application. Belongs to one event loop."""

    def __init__(self, application: LedgerApplication, clock: Clock, limits: LedgerLimits) -> None:
        self.application = application
        self._recorder = application.commit_recorder
        self._clock = clock
        self._limits = limits
        self._cache = StateCache(application.cached_streams_max)
        self._executor = ThreadPoolExecutor(limits.threads, thread_name_prefix="ledger")
        self._background: set[asyncio.Future[None]] = set()

    async def load(self, kind: StreamKind[S], stream_id: UUID) -> S | None:
        """The state as of the last commit of whatever process. Raises LedgerUnavailable."""
        known = cast("S | None", self._cache.stored_state(kind, stream_id))
        state = await self._in_thread(partial(self.application.load, kind, stream_id, known))
        if state is not None:
            self._cache.loaded(kind, state)
        return state

    async def load_at(self, kind: StreamKind[S], stream_id: UUID, at: datetime) -> S | None:
        """Raises LedgerUnavailable."""
        return await self._in_thread(partial(self.application.load_at, kind, stream_id, at))

    async def transact(
        self,
        work: Callable[[Transaction], T],
        *,
        streams: tuple[UUID, ...] = (),  # noqa: ARG002 - a hint
    ) -> Committed[T]:
        """Run `work` until what it adds is stored. A refusal raised by `work` ends it with
        nothing written. It may run more than once, and never waits for anything itself.

        streams: what it is likely to write; a hint, that nothing depends on.

        Raises LedgerUnavailable, LedgerBusy, and DataError for what no database could take.
        """
        fresh: dict[UUID, StreamState | None] = {}
        conflicts = 0
        for _ in range(self._limits.decisions_max):
            states = _States(self._cache, fresh)
            transaction = Transaction(states)
            try:
                value = work(transaction)
            except _StateMissing as missing:
                fresh[missing.stream_id] = await self.load(missing.kind, missing.stream_id)
                continue
            except Exception:
                if await self._stands(states, fresh):
                    raise
                continue
            if not transaction.events:
                if await self._stands(states, fresh):
                    return Committed(value=value, position=None)
                continue
            command = _Command(self, states, transaction)
            self._submit(command)
            if await self._finished(command):
                assert command.positions is not None
                return Committed(value=value, position=command.positions[-1])
            if isinstance(command.error, IntegrityError):
                conflicts += 1
                if conflicts > self._limits.conflict_retries_max:
                    break
            elif not isinstance(command.error, PredecessorFailed):
                assert command.error is not None
                raise _for_caller(command.error) from command.error
            fresh.clear()
            await self._read_again(states, fresh)
        raise LedgerUnavailable("too many others wrote to the same account at once; try again")

    async def aclose(self) -> None:
        """Finish what is on its way, and close."""
        await self._recorder.drain()
        while self._background:
            await asyncio.wait(self._background)
        self.close()

    def close(self) -> None:
        """At once; what is on its way may or may not be stored."""
        self._recorder.stop()
        self._executor.shutdown(wait=True)
        self.application.close()

    def on_settled(self, command: "_Command") -> None:
        """For commands alone, when their outcome is known."""
        error = command.error
        if error is None:
            for kind, state, count in command.changed:
                self._cache.stored(command, state)
                interval = kind.snapshot_interval
                if state.version // interval > (state.version - count) // interval:
                    self._snapshot_later(kind, state)
            return
        self._cache.failed(command, command.written_ids)
        if not isinstance(error, (PredecessorFailed, DataError)):
            self._cache.conflicted(
                command.written_ids, [stream_id for stream_id, _ in command.reads]
            )

    def _submit(self, command: "_Command") -> None:
        self._recorder.submit(command)
        if not command.is_settled:
            for kind, state, _ in command.changed:
                self._cache.submitted(command, kind, state)

    async def _finished(self, command: "_Command") -> bool:
        """Whether it is stored. Cancelling the caller does not stop what is on its way."""
        cancelled: asyncio.CancelledError | None = None
        while True:
            try:
                stored = await command.settled()
            except asyncio.CancelledError as error:
                cancelled = error
            else:
                if cancelled is not None and stored:
                    raise cancelled
                return stored

    async def _stands(self, states: _States, fresh: dict[UUID, StreamState | None]) -> bool:
        """Whether what was decided without writing was decided on what is stored."""
        for commit in states.after:
            if not await commit.settled():
                return False
        return await self._read(states.unproven, states, fresh)

    async def _read_again(self, states: _States, fresh: dict[UUID, StreamState | None]) -> None:
        """What cannot be decided on any more, together, so that the handler need not ask one by
        one."""
        seen = [(kind, stream_id) for stream_id, (kind, _) in states.versions.items()]
        await self._read(
            [stream for stream in seen if self._cache.find(*stream) is None], states, fresh
        )

    async def _read(
        self,
        streams: list[tuple[StreamKind[Any], UUID]],
        states: _States,
        fresh: dict[UUID, StreamState | None],
    ) -> bool:
        """Read the streams from the store; whether they are as the handler saw them."""
        unchanged = True
        read = await asyncio.gather(*(self.load(kind, stream_id) for kind, stream_id in streams))
        for (_, stream_id), state in zip(streams, read, strict=True):
            fresh[stream_id] = state
            version = 0 if state is None else state.version
            unchanged = unchanged and states.versions[stream_id][1] == version
        return unchanged

    async def _in_thread(self, call: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._executor, call)
        except (OperationalError, InterfaceError) as error:
            raise _for_caller(error) from error

    def _snapshot_later(self, kind: StreamKind[Any], state: StreamState) -> None:
        """A snapshot only saves time: where many are waiting, the next one will do."""
        if len(self._background) >= self._limits.snapshots_waiting_max:
            return
        loop = asyncio.get_running_loop()
        put = loop.run_in_executor(self._executor, self._put_snapshot, kind, state)
        self._background.add(put)
        put.add_done_callback(self._background.discard)

    def _put_snapshot(self, kind: StreamKind[Any], state: StreamState) -> None:
        assert self.application.snapshots is not None
        # Another writer may have taken the same one; and without it, streams still load.
        with suppress(IntegrityError, OperationalError, InterfaceError):
            self.application.snapshots.put([take_snapshot(kind, state, self._clock.now())])


def _for_caller(error: Exception) -> Exception:
    if isinstance(error, (OperationalError, InterfaceError)):
        return LedgerUnavailable("the ledger's database cannot be reached")
    return error
