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
from eventsourcing.utils import Environment, EnvType
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from application.ledger.event_store import LedgerApplication
from application.ledger.keys import LedgerKeys
from infrastructure.event_store.group_commit import GroupCommitRecorder

EVENTS_SCHEMA = "ledger"


# Completed by the library: bounds, order and limit.
_SELECT_EVENTS = (
    "SELECT originator_id, originator_version, topic, state FROM {}.events_with_macs"
    " WHERE originator_id = %s"
)
_RETRY_PAUSE_S = 0.1
# Of the application's environment, which is a dictionary and not the process's.
_URL = "LEDGER_DATABASE_URL"


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
    """Reads events with their MACs, also those of earlier formats, which have theirs beside them.
    Writes under LOCK TABLE … EXCLUSIVE, so that positions become visible in their order and a
    reader that tails the log misses nothing."""

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
        # With all that the URL says (sslmode, keepalives …), of which the library takes five parts.
        pool.conninfo = self.env.get(_URL) or ""
        assert isinstance(pool.kwargs, dict)
        pool.kwargs["connect_timeout"] = max(1, round(pool.timeout))
        # The pool tries at ever longer intervals, and starts anew after this time: so it is never
        # long behind a database that is back after hours.
        pool.reconnect_timeout = pool.timeout


def open_application(
    service_url: str,
    keys: LedgerKeys,
    *,
    threads: int,
    connect_timeout_s: int,
    cached_streams_max: int,
) -> LedgerApplication:
    """The event-sourced application on a PostgreSQL of the given URL; close() releases it."""
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
            # A writer that stands still with the table's lock does not hold the others for ever.
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
