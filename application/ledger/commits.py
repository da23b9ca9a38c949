"""What the ledger asks of the event store: commit many commands at once, each on its own.

A commit is one command's events. The store writes waiting commits in the order in which they were
submitted, many in one transaction, and answers for each of them alone: one that meets another
writer's events fails with IntegrityError, one that the database cannot take fails with DataError,
and the others around it are stored.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from eventsourcing.persistence import ApplicationRecorder, StoredEvent


class LedgerUnavailable(Exception):
    """PostgreSQL cannot be reached, or too many others wrote the same streams."""


class LedgerBusy(LedgerUnavailable):
    """More commands wait to be committed, or reads for a thread, than the ledger takes."""


class PredecessorFailed(Exception):
    """The commit was not tried, because one that it builds on was not stored."""


class Commit:
    """events: stored all or none. reads: streams that were read and not written, each with the
    version that must not have been written meanwhile (the one after what was read). after: the
    commits whose uncommitted results this one was decided on; it is stored only if each of them
    is. All of them were submitted before it.

    deadline: until when, by the loop's clock, it waits for a database that is away; the store's own
    limit applies where that is later. positions: of the events, once they are stored. error: why
    they were not stored; with an OperationalError it is unknown whether they were.
    """

    __slots__ = ("_waiters", "after", "deadline", "error", "events", "positions", "reads")

    def __init__(
        self,
        events: Sequence[StoredEvent],
        *,
        reads: Sequence[tuple[UUID, int]] = (),
        after: Sequence["Commit"] = (),
    ) -> None:
        self.events = events
        self.reads = reads
        self.after = after
        self.deadline = 0.0
        self.positions: Sequence[int] | None = None
        self.error: Exception | None = None
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def is_done(self) -> bool:
        return self.positions is not None or self.error is not None

    def stored(self, positions: Sequence[int]) -> None:
        """For the store alone, once."""
        self.positions = positions
        self._done()

    def failed(self, error: Exception) -> None:
        """For the store alone, once."""
        self.error = error
        self._done()

    def on_done(self) -> None:
        """Called at once when the outcome is known, before anything else can run."""

    async def wait_stored(self) -> bool:
        """Whether the commit is stored, once that is known. A waiter that is cancelled leaves the
        commit on its way."""
        if not self.is_done:
            await self.waiter()
        return self.error is None

    def waiter(self) -> asyncio.Future[None]:
        """Done when the outcome is known, which it must not be yet."""
        # Each waiter has a future of its own: cancelling one must not cancel the others.
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter

    def _done(self) -> None:
        # Otherwise every commit of a stream would keep all those before it alive.
        self.after = ()
        self.on_done()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


class CommitQueue(Protocol):
    """Belongs to one event loop."""

    def submit(self, commit: Commit) -> None:
        """Take a commit for the next transaction.

        Raises LedgerBusy, LedgerUnavailable, and DataError for events that no database could take.
        """


class CommitRecorder(ApplicationRecorder):
    """What the application asks of its recorder beyond the library's contract."""

    def commit_queue(self) -> CommitQueue:
        """The recorder's only one, which belongs to the event loop that first asks for it."""
        raise NotImplementedError

    async def drain(self) -> None:
        """Returns when nothing waits and nothing is on its way."""
        raise NotImplementedError

    def position_of(self, originator_id: UUID, originator_version: int) -> int | None:
        raise NotImplementedError

    def stop(self) -> None:
        """Commits whose outcome is not known yet fail with OperationalError."""
        raise NotImplementedError
