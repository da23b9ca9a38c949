"""Group commit: all commands that wait are stored in one transaction, each by itself.

`eventsourcing`'s recorder locks the table and flushes the log once for every command. This one
does it once for all commands that came while the last flush was under way. What holds:

1. Commits are stored, and get their positions, in the order in which they were submitted, under
   LOCK TABLE … EXCLUSIVE: a reader that tails the log misses nothing.
2. One transaction is under way at a time, sent as a whole: the server never waits for us while it
   holds the lock.
3. A commit is stored only if every commit that it builds on (`after`) is. Within a transaction
   the statement sees to it; across transactions, earlier outcomes are known before later commits
   are sent.
4. A commit that meets rows of another writer fails alone, with what builds on it. One that the
   database cannot take makes its transaction fail; halves of it are tried until it is alone.
5. When the connection breaks, the old server process is ended first, so that nothing is in doubt
   any more; then commits whose own events are found stored are answered so, and the others are
   sent again. Events carry fresh ids, so equal bytes are the same event.
6. Everything is bounded: commits that wait, a batch, an answer, and how long a database that is
   away is waited for. A commit whose outcome is still unknown then fails, too: who gave it an
   idempotency key can ask again.
"""

from typing import Any

from eventsourcing.postgres import PostgresApplicationRecorder

from application.ledger.commits import CommitRecorder
from infrastructure.event_store.commit_limits import CommitLimits
from infrastructure.event_store.commit_queue import GroupCommitQueue
from infrastructure.event_store.commit_session import CommitSession, SessionOptions
from infrastructure.event_store.commit_trouble import CommitTrouble


class GroupCommitRecorder(PostgresApplicationRecorder, CommitRecorder):
    """The queue is for an event loop; the library's own methods, `insert_events` too, go on working
    beside it, from threads."""

    commit_limits = CommitLimits()
    _queue: GroupCommitQueue | None = None

    def commit_queue(self) -> GroupCommitQueue:
        if self._queue is None:
            self._queue = GroupCommitQueue(self._open_session, self.commit_limits)
        return self._queue

    async def drain(self) -> None:
        if self._queue is not None:
            await self._queue.drain()

    def stop(self) -> None:
        if self._queue is not None:
            self._queue.stop()

    @property
    def trouble(self) -> CommitTrouble:
        return CommitTrouble() if self._queue is None else self._queue.trouble

    async def _open_session(self) -> CommitSession:
        pool: Any = self.datastore.pool
        parameters = {name: of for name, of in pool.kwargs.items() if name != "row_factory"}
        parameters["application_name"] = "chatledger commits"
        return await CommitSession.open(
            SessionOptions(
                url=pool.conninfo,
                parameters=parameters,
                schema=self.datastore.schema,
                table=self.events_table_name,
                channel=self.channel_name,
                connect_timeout_s=self.commit_limits.connect_timeout_s,
                answer_timeout_s=self.commit_limits.answer_timeout_s,
            )
        )
