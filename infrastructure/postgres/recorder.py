"""The event store's recorder: eventsourcing's own, against a schema that migrations made."""

import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from eventsourcing.persistence import InterfaceError, OperationalError, StoredEvent
from eventsourcing.postgres import (
    PostgresAggregateRecorder,
)
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from application.event_application import LedgerApplication
from infrastructure.postgres.group_commit import GroupCommitRecorder

EVENTS_SCHEMA = "ledger"


_RETRY_PAUSE_S = 0.1


def _in_time(call: Callable[..., Any], recorder: PostgresAggregateRecorder, *args: Any) -> Any:
    """Tries again after a lost connection, until a new one should have been there.

    The library tries ten times, however long each waits for a connection: together most of a
    minute, in which a caller hears nothing. `call` is the library's method beneath that.
    """
    deadline = time.monotonic() + recorder.datastore.pool.timeout
    while True:
        try:
            return call(recorder, *args)
        except (InterfaceError, OperationalError):
            if time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_PAUSE_S)


def _insert(recorder: PostgresAggregateRecorder, events: Sequence[StoredEvent], how: Any) -> Any:
    return _in_time(lambda self: how.__wrapped__(self, events), recorder)


def _select(recorder: PostgresAggregateRecorder, stream_id: Any, bounds: dict[str, Any]) -> Any:
    how: Any = PostgresAggregateRecorder.select_events
    return _in_time(lambda self: how.__wrapped__(self, stream_id, **bounds), recorder)


class LedgerRecorder(GroupCommitRecorder):
    """Writes under LOCK TABLE … EXCLUSIVE, so that positions become visible in their order and a
    reader that tails the log misses nothing."""

    def position_of(self, originator_id: UUID, originator_version: int) -> int | None:
        statement = SQL(
            "SELECT notification_id FROM {}.{} WHERE originator_id = %s AND originator_version = %s"
        ).format(Identifier(self.datastore.schema), Identifier(self.events_table_name))
        with self.datastore.get_connection() as conn, conn.cursor() as cursor:
            cursor.execute(statement, (originator_id, originator_version), prepare=True)
            row = cursor.fetchone()
            return None if row is None else row["notification_id"]


def open_application(
    service_url: str, *, threads: int, connect_timeout_s: int, cached_streams_max: int
) -> LedgerApplication:
    """The event-sourced application on a PostgreSQL of the given URL; close() releases it."""
    parts = conninfo_to_dict(service_url)
    return LedgerApplication(
        {
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "APPLICATION_RECORDER_TOPIC": "infrastructure.postgres.recorder:LedgerRecorder",
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
