"""Writes to the event store and reads from it: eventsourcing's recorders, against a schema that
migrations made, with group commit.

Group commit stores all commands that wait in one transaction, each whole or not at all.
eventsourcing's own recorder locks the table and flushes the log once for every command; this one
does so once for all commands that arrived during the previous flush. It guarantees:

1. Commits are stored, and get their positions, in the order in which they were submitted, under
   LOCK TABLE … EXCLUSIVE. A reader that tails the log misses nothing.
2. One transaction is under way at a time and is sent as a whole, so the server never waits for us
   while it holds the lock.
3. A commit is stored only if every commit that it builds on (`after`) is stored. Within one
   transaction the SQL statement checks this; across transactions, earlier outcomes are known
   before later commits are sent.
4. A commit that meets another writer's rows fails, and so does what builds on it; the rest of its
   transaction is stored. If the database cannot take a commit's values, the transaction fails, and
   its halves are tried until the commit stands alone.
5. When the connection breaks, the old server process is ended first, so that its transaction has
   either happened or never will. Commits whose events are then found in the log are reported as
   stored, the others are sent again. Events carry fresh ids, so equal bytes are the same event.
6. Everything has a bound: commits that wait, the size of a batch, the wait for a result, and the
   wait for a database that is away. A commit whose outcome is still unknown after that fails too;
   a caller who gave it an idempotency key can ask again.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from eventsourcing.persistence import InterfaceError, OperationalError, StoredEvent
from eventsourcing.postgres import (
    PostgresAggregateRecorder,
    PostgresApplicationRecorder,
    PostgresFactory,
)
from eventsourcing.utils import Environment, EnvType
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from application.ledger.commits import CommitRecorder
from application.ledger.event_store import LedgerApplication
from application.ledger.keys import LedgerKeys
from infrastructure.event_store.commit_queue import GroupCommitQueue
from infrastructure.event_store.commit_session import CommitSession, SessionOptions
from infrastructure.event_store.commit_waiting import CommitLimits, CommitTrouble

EVENTS_SCHEMA = "ledger"

# The library appends bounds, order and limit.
_SELECT_EVENTS = (
    "SELECT originator_id, originator_version, topic, state FROM {}.events_with_macs"
    " WHERE originator_id = %s"
)
_RETRY_PAUSE_S = 0.1
# A key of the application's environment, which is a dictionary and not the process's.
_URL = "LEDGER_DATABASE_URL"


def _once(method: Any) -> Callable[..., Any]:
    """The library's method without its decorator, which tries ten times: with the wait for a
    connection each time, that is most of a minute in which the caller hears nothing."""
    undecorated: Callable[..., Any] = method.__wrapped__
    return undecorated


_insert_events = _once(PostgresApplicationRecorder.insert_events)
_insert_snapshots = _once(PostgresAggregateRecorder.insert_events)
_select = _once(PostgresAggregateRecorder.select_events)


def _in_time(recorder: PostgresAggregateRecorder, call: Callable[[], Any]) -> Any:
    """The call's result. After a lost connection it is tried again for as long as a new connection
    may take, and then the error is raised."""
    deadline = time.monotonic() + recorder.datastore.pool.timeout
    while True:
        try:
            return call()
        except (InterfaceError, OperationalError):
            if time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_PAUSE_S)


class SnapshotRecorder(PostgresAggregateRecorder):
    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Any:
        return _in_time(self, lambda: _insert_snapshots(self, stored_events))

    def select_events(self, originator_id: UUID | str, **bounds: Any) -> Any:
        return _in_time(self, lambda: _select(self, originator_id, **bounds))


class GroupCommitRecorder(PostgresApplicationRecorder, CommitRecorder):
    """The queue is for an event loop. The library's own methods, `insert_events` among them, still
    work beside it, from threads."""

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
                result_timeout_s=self.commit_limits.result_timeout_s,
            )
        )


class LedgerRecorder(GroupCommitRecorder):
    """Reads each event with its MAC; events from before events carried MACs have theirs in a table
    beside the log."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.select_events_statement = SQL(_SELECT_EVENTS).format(Identifier(self.datastore.schema))

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Any:
        return _in_time(self, lambda: _insert_events(self, stored_events))

    def select_events(self, originator_id: UUID | str, **bounds: Any) -> Any:
        return _in_time(self, lambda: _select(self, originator_id, **bounds))

    def position_of(self, originator_id: UUID, originator_version: int) -> int | None:
        statement = SQL(
            "SELECT notification_id FROM {}.{} WHERE originator_id = %s AND originator_version = %s"
        ).format(Identifier(self.datastore.schema), Identifier(self.events_table_name))
        with self.datastore.get_connection() as conn, conn.cursor() as cursor:
            cursor.execute(statement, (originator_id, originator_version), prepare=True)
            row = cursor.fetchone()
            return None if row is None else row["notification_id"]


class LedgerFactory(PostgresFactory):
    application_recorder_class = LedgerRecorder
    aggregate_recorder_class = SnapshotRecorder

    def __init__(self, env: Environment | EnvType | None) -> None:
        super().__init__(env)
        pool = self.datastore.pool
        # The library takes five parts of the URL; this keeps the rest (sslmode, keepalives …).
        pool.conninfo = self.env.get(_URL) or ""
        assert isinstance(pool.kwargs, dict)
        pool.kwargs["connect_timeout"] = max(1, round(pool.timeout))
        # The pool's pauses between attempts grow, and start anew after this time. So it notices
        # soon when a database is back, even after hours.
        pool.reconnect_timeout = pool.timeout


def open_application(
    service_url: str,
    keys: LedgerKeys,
    *,
    threads: int,
    connect_timeout_s: int,
    cached_streams_max: int,
) -> LedgerApplication:
    """The event-sourced application on the PostgreSQL at this URL; close() releases it."""
    parts = conninfo_to_dict(service_url)
    return LedgerApplication(
        {
            "PERSISTENCE_MODULE": "infrastructure.event_store.recorder:LedgerFactory",
            "POSTGRES_SCHEMA": EVENTS_SCHEMA,
            "POSTGRES_DBNAME": str(parts.get("dbname", "")),
            "POSTGRES_HOST": str(parts.get("host", "")),
            "POSTGRES_PORT": str(parts.get("port", "5432")),
            "POSTGRES_USER": str(parts.get("user", "")),
            "POSTGRES_PASSWORD": str(parts.get("password", "")),
            "POSTGRES_CONNECT_TIMEOUT": str(connect_timeout_s),
            _URL: service_url,
            # A writer that hangs with the table's lock must not block the others for ever.
            "POSTGRES_LOCK_TIMEOUT": str(connect_timeout_s),
            "POSTGRES_PRE_PING": "n",
            # Every thread of the ledger may hold one connection, and no more are needed.
            "POSTGRES_POOL_SIZE": "2",
            "POSTGRES_MAX_OVERFLOW": str(max(0, threads - 2)),
            "CREATE_TABLE": "n",
        },
        keys=keys,
        cached_streams_max=cached_streams_max,
    )
