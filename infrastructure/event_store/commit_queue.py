"""The queue of commits, and what becomes of each. `recorder` says what it guarantees."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
from eventsourcing.persistence import DataError, IntegrityError, OperationalError

from application.ledger.commits import Commit, LedgerBusy, LedgerUnavailable, PredecessorFailed
from infrastructure.event_store import commit_sql
from infrastructure.event_store.commit_connection import ConnectionLost
from infrastructure.event_store.commit_session import CommitSession, Rejected, Stored
from infrastructure.event_store.commit_waiting import (
    CommitLimits,
    CommitTrouble,
    Waiting,
    may_be_stored,
)
from infrastructure.process.garbage import YoungGarbage

log = structlog.get_logger()

# SQLSTATE classes that speak of the values: data exception, integrity constraint violation,
# program limit exceeded. Every other error speaks of the server.
VALUE_ERRORS = ("22", "23", "54")
CONSTRAINT_ERRORS = "23"

_AWAY = "the ledger's database cannot be reached"


class GroupCommitQueue:
    """Belongs to the event loop that it is made in."""

    def __init__(
        self, open_session: Callable[[], Awaitable[CommitSession]], limits: CommitLimits
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._open_session = open_session
        self._limits = limits
        self._session: CommitSession | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._down_since: float | None = None
        self._try_now = asyncio.Event()
        self._stopped = False
        # In the order in which they will be stored: those under way or in doubt, then the parts of
        # a transaction that failed, then the queue.
        self._flying: list[Waiting] = []
        self._ties: list[int] = []
        self._in_doubt: list[Waiting] = []
        self._parts: deque[list[Waiting]] = deque()
        self._queue: deque[Waiting] = deque()
        self._enough = 1
        self._send_is_due = False
        self._garbage = YoungGarbage()
        self.trouble = CommitTrouble()

    def submit(self, commit: Commit) -> None:
        """As CommitQueue.submit."""
        assert commit.events, "there is something to store"
        if self._stopped:
            raise LedgerUnavailable("the ledger is closing")
        if len(self._queue) >= self._limits.waiting_max:
            raise LedgerBusy("too many commands are waiting to be stored; try again shortly")
        deadline = self._loop.time()
        if self._is_away(deadline):
            # The database is away, so this commit gets one attempt, made at once.
            self._try_now.set()
        else:
            deadline += self._limits.unavailable_after_s
        self._queue.append(Waiting(commit, deadline))
        if self._flying:
            return
        # Half of the commits are sent at once, while the callers of the other half still decide.
        # `_enough` is that half, counted when the outcome of the last batch came.
        if len(self._queue) >= self._enough:
            self._send()
        elif not self._send_is_due:
            self._send_is_due = True
            self._loop.call_soon(self._send_now)

    async def drain(self) -> None:
        while outstanding := self._outstanding():
            await outstanding[-1].commit.wait_stored()

    def stop(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        if self._connecting is not None and not self._loop.is_closed():
            self._connecting.cancel()
        if self._session is not None:
            self._session.close()
        outstanding = self._outstanding()
        self._flying, self._in_doubt = [], []
        self._parts.clear()
        self._queue.clear()
        for waiting in outstanding:
            waiting.commit.failed(OperationalError("the ledger was closed"))

    def _outstanding(self) -> list[Waiting]:
        in_parts = [waiting for part in self._parts for waiting in part]
        return [*self._in_doubt, *self._flying, *in_parts, *self._queue]

    def _is_away(self, now: float) -> bool:
        down_since = self._down_since
        return down_since is not None and now - down_since > self._limits.unavailable_after_s

    def _send_now(self) -> None:
        self._send_is_due = False
        self._send()

    def _send(self) -> None:
        """The next transaction, if there is something to store and nothing under way."""
        if self._flying or self._stopped:
            return
        if self._session is None or not self._session.is_open:
            if self._connecting is None and (self._queue or self._parts or self._in_doubt):
                self._down_since = self._down_since or self._loop.time()
                self._connecting = self._loop.create_task(self._connect())
            return
        batch = self._next_batch()
        if not batch:
            return
        self._flying = batch
        commits = [waiting.commit for waiting in batch]
        self._ties = commit_sql.ties_of(commits)
        parameters = commit_sql.insert_parameters(
            [waiting.rows for waiting in batch], self._ties, [commit.reads for commit in commits]
        )
        self._session.store(parameters, self._on_outcome)

    def _next_batch(self) -> list[Waiting]:
        """What may be stored together, in order. Two commits with the same row never are: the later
        one has to find the earlier one's row in the table, and fail."""
        batch: list[Waiting] = []
        while self._parts and not batch:
            batch = [waiting for waiting in self._parts.popleft() if may_be_stored(waiting)]
        if batch:
            return batch
        keys: set[bytes] = set()
        size = 0
        while self._queue and len(batch) < self._limits.batch_commits_max:
            waiting = self._queue[0]
            if batch and (
                size + waiting.bytes > self._limits.batch_bytes_max
                or not keys.isdisjoint(waiting.keys)
            ):
                break
            self._queue.popleft()
            if may_be_stored(waiting):
                batch.append(waiting)
                keys.update(waiting.keys)
                size += waiting.bytes
        return batch

    def _on_outcome(self, outcome: Stored | Rejected | ConnectionLost) -> None:
        batch, self._flying = self._flying, []
        try:
            match outcome:
                case Stored():
                    self.trouble.rejected = None
                    self._confirm(batch, outcome)
                case Rejected():
                    self._reject(batch, outcome)
                case ConnectionLost():
                    self._in_doubt = batch
                    log.warning("commit_connection_lost", error=str(outcome), commits=len(batch))
        except Exception:
            # A defect of ours; even so, neither these commits nor later ones may wait for ever.
            log.exception("commit_outcome_not_understood", commits=len(batch))
            self._give_up(batch)
        self._enough = max(1, (len(batch) + len(self._queue) + 1) // 2)
        if self._parts or self._in_doubt or len(self._queue) >= self._enough:
            self._send()
        elif self._queue and not self._send_is_due:
            self._send_is_due = True
            self._loop.call_soon(self._send_now)
        # Now, while the next transaction is on its way.
        self._garbage.committed(len(batch))

    def _give_up(self, batch: list[Waiting]) -> None:
        for waiting in batch:
            if not waiting.commit.is_done and waiting not in self._in_doubt:
                waiting.commit.failed(OperationalError("what became of the commit is unknown"))

    def _confirm(self, batch: list[Waiting], stored: Stored) -> None:
        place = 0
        for number, waiting in enumerate(batch):
            first_taken = stored.first_taken.get(self._ties[number])
            if first_taken is None or number < first_taken:
                after = place + len(waiting.rows)
                waiting.commit.stored(stored.positions[place:after])
                place = after
            elif number == first_taken:
                waiting.commit.failed(IntegrityError("another writer was first"))
            else:
                waiting.commit.failed(PredecessorFailed())
        assert place == len(stored.positions), "every position belongs to a commit"
        if stored.first_taken:
            self._drop_followers()

    def _reject(self, batch: list[Waiting], rejected: Rejected) -> None:
        text = f"{rejected.message} (SQLSTATE {rejected.sqlstate})"
        if not rejected.sqlstate.startswith(VALUE_ERRORS):
            log.warning("commit_rejected", error=text, commits=len(batch))
            self.trouble.rejected = text
            for waiting in batch:
                waiting.commit.failed(OperationalError(text))
        elif len(batch) == 1:
            is_constraint = rejected.sqlstate.startswith(CONSTRAINT_ERRORS)
            batch[0].commit.failed(IntegrityError(text) if is_constraint else DataError(text))
        else:
            middle = len(batch) // 2
            self._parts.extendleft((batch[middle:], batch[:middle]))
            return
        self._drop_followers()

    def _drop_followers(self) -> None:
        """Fails at once what builds on a failed commit, so that nobody decides on states that will
        never be stored."""
        self._queue = deque(waiting for waiting in self._queue if may_be_stored(waiting))

    async def _connect(self) -> None:
        pause_s = self._limits.reconnect_s_min
        failures = 0
        while True:
            self._try_now.clear()
            try:
                session = await self._open_session()
                await self._clear_doubts(session)
                break
            except ConnectionLost as error:
                self.trouble.not_connected = str(error)
                if not failures:
                    log.warning("commit_connection_failed", error=str(error))
            except Exception:
                # A defect of ours; commits that wait for the connection have their time limit.
                log.exception("commit_connection_failed")
            failures += 1
            self._expire()
            await asyncio.sleep(self._limits.reconnect_s_min)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._try_now.wait(), pause_s)
            pause_s = min(2 * pause_s, self._limits.reconnect_s_max)
        if failures:
            log.info("commit_connection_restored", attempts=failures + 1)
        self._session = session
        self.trouble.not_connected = None
        self._down_since = None
        self._connecting = None
        self._send()

    async def _clear_doubts(self, session: CommitSession) -> None:
        if not self._in_doubt:
            return
        assert self._session is not None
        try:
            await session.end(self._session.backend)
            rows = [row for waiting in self._in_doubt for row in waiting.rows]
            positions = iter(await session.find(rows))
        except BaseException:
            session.close()
            raise
        in_doubt, self._in_doubt = self._in_doubt, []
        again: list[Waiting] = []
        for waiting in in_doubt:
            found = [position for position in (next(positions) for _ in waiting.rows) if position]
            if len(found) == len(waiting.rows):
                waiting.commit.stored(found)
            else:
                again.append(waiting)
        log.info("commits_cleared_up", stored=len(in_doubt) - len(again), sent_again=len(again))
        if again:
            self._parts.appendleft(again)

    def _expire(self) -> None:
        """Fail every commit that has waited too long for the database, and what builds on it."""
        now = self._loop.time()
        expired = [waiting for waiting in self._outstanding() if waiting.deadline < now]
        for waiting in expired:
            waiting.commit.failed(OperationalError(_AWAY))
        if expired:
            self._in_doubt = [w for w in self._in_doubt if may_be_stored(w)]
            parts = ([w for w in part if may_be_stored(w)] for part in self._parts)
            self._parts = deque(part for part in parts if part)
            self._drop_followers()
