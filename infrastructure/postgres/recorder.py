"""The event store's recorder: eventsourcing's own, against a schema that migrations made."""

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
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from application.event_store import LedgerApplication
from infrastructure.postgres.group_commit import GroupCommitRecorder

EVENTS_SCHEMA = "ledger"


_RETRY_PAUSE_S = 0.1


def _once(method: Any) -> Callable[..., Any]:
    """The library's method beneath its own retries: ten, however long each waits for a
    connection, which is most of a minute in which the caller hears nothing."""
    beneath: Callable[..., Any] = method.__wrapped__
    return beneath


_insert_events = _once(PostgresApplicationRecorder.insert_events)
_insert_snapshots = _once(PostgresAggregateRecorder.insert_events)
_select = _once(PostgresAggregateRecorder.select_events)


def _in_time(recorder: PostgresAggregateRecorder, call: Callable[[], Any]) -> Any:
    """Tries again after a lost connection, until a new one should have been there."""
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


class LedgerRecorder(GroupCommitRecorder):
    """Writes under LOCK TABLE … EXCLUSIVE, so that positions become visible in their order and a
    reader that tails the log misses nothing."""

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


def open_application(
    service_url: str, *, threads: int, connect_timeout_s: int, cached_streams_max: int
) -> LedgerApplication:
    """The event-sourced application on a PostgreSQL of the given URL; close() releases it."""
    parts = conninfo_to_dict(service_url)
    return LedgerApplication(
        {
            "PERSISTENCE_MODULE": "infrastructure.postgres.recorder:LedgerFactory",
            "POSTGRES_SCHEMA": EVENTS_SCHEMA,
            "POSTGRES_DBNAME": str(parts.get("dbname", "")),
            "POSTGRES_HOST": str(parts.get("host", "")),
            "POSTGRES_PORT": str(parts.get("port", "5432")),
            "POSTGRES_USER": str(parts.get("user", "")),
            "POSTGRES_PASSWORD": str(parts.get("password", "")),
            "POSTGRES_CONNECT_TIMEOUT": str(connect_timeout_s),
            "POSTGRES_PRE_PING": "n",
            # Every thread of the ledger may hold one connection, and no more are needed.
            "POSTGRES_POOL_SIZE": "2",
            "POSTGRES_MAX_OVERFLOW": str(max(0, threads - 2)),
            "CREATE_TABLE": "n",
        },
        cached_streams_max=cached_streams_max,
    )
