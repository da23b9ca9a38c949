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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Generic, TypeVar, cast
from uuid import UUID

from eventsourcing.persistence import DataError, IntegrityError, InterfaceError, OperationalError

from application.ledger.attempt import Attempt, Call, StateMissing, StoredStates, Stream
from application.ledger.commits import Commit, LedgerBusy, LedgerUnavailable, PredecessorFailed
from application.ledger.event_store import E, LedgerApplication
from application.ledger.state_cache import StateCache
from application.ledger.streams import S, StreamKind, StreamState
from application.ledger.threads import LedgerThreads
from application.ledger.transaction import Transaction
from application.ports import Clock
from domain.records import record

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

# Pauses between attempts to read from a database that is away.
_READ_AGAIN_S_MIN = 0.2
_READ_AGAIN_S_MAX = 2.0


@record
class Committed(Generic[T]):
    """position: of the last event, for read-your-own-writes; None where nothing was written."""

    value: T
    position: int | None


@dataclass(frozen=True, kw_only=True)
class LedgerLimits:
    """threads: how many streams are read at once. conflict_retries_max: how often a command is
    decided again because another process wrote first. decisions_max: how often it is decided at
    most, for whatever reason: a stream had to be read, or what it was decided on was not stored.
    wait_s_max: how long a read waits for a thread; while the database is away, each read before it
    keeps one until it gives up. snapshots_waiting_max: how many may wait to be written."""

    threads: int = 8
    conflict_retries_max: int = 16
    decisions_max: int = 256
    wait_s_max: float = 5.0
    snapshots_waiting_max: int = 64


class _Command(Commit):
    """A commit that tells the ledger its outcome, so that the cache is corrected at once."""

    __slots__ = ("_ledger", "changed")

    def __init__(self, ledger: "Ledger", attempt: Attempt, transaction: Transaction) -> None:
        self._ledger = ledger
        self.changed = transaction.changed()
        reads: list[tuple[UUID, int]] = []
        if len(attempt.seen) > len(self.changed):
            written = self.written_ids()
            reads = [
                (stream_id, version + 1)
                for _, stream_id, version in attempt.seen
                if stream_id not in written
            ]
        to_stored_event = ledger.to_stored_event
        super().__init__(
            [to_stored_event(event) for event in transaction.events],
            reads=reads,
            after=attempt.after,
        )

    def written_ids(self) -> list[UUID]:
        return [touched.state.id for touched in self.changed]

    def on_done(self) -> None:
        self._ledger.on_done(self)


class Ledger:
    """The asynchronous face of the application. Belongs to one event loop."""

    def __init__(self, application: LedgerApplication, clock: Clock, limits: LedgerLimits) -> None:
        self.application = application
        self.to_stored_event = application.mapper.to_stored_event
        self._recorder = application.commit_recorder
        self._limits = limits
        self._cache = StateCache(application.cached_streams_max)
        self._threads = LedgerThreads(
            application,
            clock,
            threads=limits.threads,
            wait_s_max=limits.wait_s_max,
            snapshots_max=limits.snapshots_waiting_max,
        )

    async def load(self, kind: StreamKind[S], stream_id: UUID) -> S | None:
        """The state as of the last commit of whatever process. Raises LedgerUnavailable."""
        return await self.read(lambda transaction: transaction.load(kind, stream_id))

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """What `work` makes of the states it loads, in one turn of one thread; it adds nothing.

        Raises LedgerUnavailable, and what `work` raises.
        """
        states = StoredStates(self.application, self._cache)
        value = await self._threads.run(lambda: work(Transaction(states)))
        for kind, state in states.loaded:
            self._cache.loaded(kind, state)
        return value

    async def load_at(self, kind: StreamKind[S], stream_id: UUID, at: datetime) -> S | None:
        """Raises LedgerUnavailable."""
        return await self._threads.run(partial(self.application.load_at, kind, stream_id, at))

    async def newest(
        self, stream_id: UUID, event_types: Sequence[type[E]], matches: Callable[[E], bool]
    ) -> E | None:
        """The newest stored event of these types that matches, searched for in a thread, however
        long the stream is. Raises LedgerUnavailable, StreamDamaged."""
        return await self._threads.run(
            partial(self.application.newest, stream_id, event_types, matches)
        )

    async def transact(
        self,
        work: Callable[[Transaction], T],
        *,
        patience_s: float = 0.0,
    ) -> Committed[T]:
        """Run `work` until what it adds is stored. A refusal raised by `work` ends it with
        nothing written. It may run more than once, and never waits for anything itself.

        patience_s: how long a database that is away is waited for, at least.

        Raises LedgerUnavailable (then it may have been stored all the same), LedgerBusy, and
        DataError for what no database could take.
        """
        call = Call(asyncio.get_running_loop().time() + patience_s)
        conflicts = 0
        for _ in range(self._limits.decisions_max):
            attempt = Attempt(self._cache, call)
            transaction = Transaction(attempt)
            try:
                value = work(transaction)
            except StateMissing as missing:
                await self._read([missing.stream], call)
                continue
            except Exception:
                if await self._stands(attempt, call):
                    raise
                continue
            if not transaction.events:
                if await self._stands(attempt, call):
                    return Committed(value=value, position=None)
                continue
            command = _Command(self, attempt, transaction)
            self._submit(command, call)
            if await self._finished(command, call):
                assert command.positions is not None
                return Committed(value=value, position=command.positions[-1])
            if isinstance(command.error, IntegrityError):
                conflicts += 1
                if conflicts > self._limits.conflict_retries_max:
                    break
            elif not isinstance(command.error, PredecessorFailed):
                assert command.error is not None
                raise _for_caller(command.error) from command.error
            await self._read_again(attempt, call)
        raise LedgerUnavailable("too many others wrote to the same account at once; try again")

    async def aclose(self) -> None:
        """Finish what is on its way, and close."""
        await self._recorder.drain()
        await self._threads.drain()
        self.close()

    def close(self) -> None:
        """At once; what is on its way may or may not be stored."""
        self._recorder.stop()
        self._threads.close()
        self.application.close()

    def on_done(self, command: "_Command") -> None:
        """For commands alone, when their outcome is known."""
        error = command.error
        if error is None:
            for touched in command.changed:
                state = touched.state
                self._cache.stored(command, state)
                into_interval = state.version % touched.kind.snapshot_interval
                if into_interval < touched.added:
                    self._threads.snapshot_later(touched.kind, state)
            return
        written = command.written_ids()
        self._cache.failed(command, written)
        if not isinstance(error, (PredecessorFailed, DataError)):
            self._cache.conflicted(written, [stream_id for stream_id, _ in command.reads])

    def _submit(self, command: "_Command", call: Call) -> None:
        command.deadline = call.deadline
        self._recorder.commit_queue().submit(command)
        if not command.is_done:
            for touched in command.changed:
                self._cache.submitted(command, touched.kind, touched.state)

    async def _finished(self, command: "_Command", call: Call) -> bool:
        """Whether it is stored. Cancelling the caller does not stop what is on its way."""
        while not command.is_done:
            try:
                await command.waiter()
            except asyncio.CancelledError as error:
                call.cancelled = error
        if command.error is not None:
            return False
        if call.cancelled is not None:
            raise call.cancelled
        return True

    async def _stands(self, attempt: Attempt, call: Call) -> bool:
        """Whether a decision that writes nothing was made on the states that are stored."""
        for commit in attempt.after:
            if not await commit.wait_stored():
                await self._read_again(attempt, call)
                return False
        await self._read(attempt.unproven, call)
        return all(
            attempt.saw(stream_id, call.fresh[stream_id]) for _, stream_id in attempt.unproven
        )

    async def _read_again(self, attempt: Attempt, call: Call) -> None:
        """Reads every state that the attempt saw. Otherwise the handler would be run again for each
        missing one."""
        call.fresh.clear()
        await self._read(attempt.outdated(), call)

    async def _read(self, streams: list[Stream], call: Call) -> None:
        """From the store, as it is now, however long that takes until the call's deadline."""
        reads = (self._read_patiently(stream, call.deadline) for stream in streams)
        for (_, stream_id), state in zip(streams, await asyncio.gather(*reads), strict=True):
            call.fresh[stream_id] = state

    async def _read_patiently(self, stream: Stream, deadline: float) -> StreamState | None:
        clock = asyncio.get_running_loop().time
        pause_s = _READ_AGAIN_S_MIN
        while True:
            try:
                return cast("StreamState | None", await self.load(*stream))
            except LedgerUnavailable:
                if clock() + pause_s >= deadline:
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _READ_AGAIN_S_MAX)


def _for_caller(error: Exception) -> Exception:
    if isinstance(error, (OperationalError, InterfaceError)):
        return LedgerUnavailable("the ledger's database cannot be reached")
    return error
