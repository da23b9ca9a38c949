"""A migrated database with a real log in it, and the rows that its read models must have."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from application.ledger.event_store import LedgerApplication
from domain.events import Event
from infrastructure.database.migrate import migrate
from infrastructure.event_store.recorder import open_application
from projections.registry import PROJECTIONS
from tests.projections.naive_tables import NaiveRow, NaiveTables
from tests.support.keys import LEDGER_KEYS
from tests.support.servers import DatabaseUrls

TABLES = tuple(table for projection in PROJECTIONS for table in projection.tables)


class Log:
    """Appends commits as the service does, and remembers the events with their positions."""

    def __init__(self, application: LedgerApplication) -> None:
        self._application = application
        self.events: list[tuple[int, Event]] = []

    @property
    def head(self) -> int:
        return self.events[-1][0] if self.events else 0

    def append(self, commits: Iterable[Sequence[Event]]) -> int:
        """Returns the position of the last event."""
        for events in commits:
            recordings = self._application.save(*events)
            positions = [recording.notification.id for recording in recordings]
            self.events += zip(positions, events, strict=True)
        return self.head

    def naive_rows(self) -> dict[str, list[NaiveRow]]:
        return NaiveTables().fold(self.events).tables


@contextmanager
def open_log(urls: DatabaseUrls) -> Iterator[Log]:
    """Migrates the database first."""
    migrate(urls.owner, urls.service)
    with psycopg.connect(urls.owner, autocommit=True) as connection:
        # These tests cut no power, so thousands of commits need not wait for the disk.
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(name))
    application = open_application(
        urls.service, LEDGER_KEYS, threads=2, connect_timeout_s=5, cached_streams_max=10
    )
    try:
        yield Log(application)
    finally:
        application.close()


def stored_rows(service_url: str, schema: str = "read") -> dict[str, list[NaiveRow]]:
    """Every row of every read model."""
    with psycopg.connect(service_url, row_factory=dict_row) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return {
            table: connection.execute(
                sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, table))
            ).fetchall()
            for table in TABLES
        }


def comparable(tables: dict[str, list[NaiveRow]]) -> dict[str, list[list[tuple[str, Any]]]]:
    """Rows in a form that ignores the order of rows and columns and leaves out empty columns. A NUL
    is what is stored instead of it."""
    return {
        table: sorted(
            (
                sorted(
                    (name, _comparable(value)) for name, value in row.items() if value is not None
                )
                for row in rows
            ),
            key=repr,
        )
        for table, rows in tables.items()
    }


def _comparable(value: Any) -> Any:
    return value.replace("\x00", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value


def trial_balance_micro(service_url: str) -> int:
    """Debits less credits of the whole journal; anything but zero is wrong."""
    with psycopg.connect(service_url) as connection:
        row = connection.execute(
            "SELECT coalesce(sum(CASE direction WHEN 'debit' THEN amount_micro"
            " ELSE -amount_micro END), 0) FROM read.journal"
        ).fetchone()
    assert row is not None
    return int(row[0])
