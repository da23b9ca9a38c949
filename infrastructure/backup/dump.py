"""Makes a backup of everything that cannot be made again, as of one moment, while the service goes
on."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from application.books.trial_balance import TrialBalance
from application.ledger.event_macs import StateMacs
from infrastructure.backup.archive import (
    ArchiveWriter,
    BackupRefused,
    Manifest,
    MigrationEntry,
    Piece,
    SequenceEntry,
    TableEntry,
    new_archive,
)
from infrastructure.exports.tables import money_topics
from infrastructure.log.scan import LogScan
from infrastructure.log.state import read_log_state

SCHEMA = "ledger"
EVENTS_TABLE = "ledger_events"
SEALS_TABLE = "seals"
# The service makes them again from the events.
LEFT_OUT = frozenset({"ledger_snapshots"})


def backup(
    owner_url: str,
    path: Path,
    made_at: datetime,
    on_progress: Callable[[float], None],
    *,
    macs: StateMacs | None = None,
    connect_timeout_s: int = 5,
) -> Manifest:
    """on_progress: gets the fraction of the log that is written, from 0 to 1. macs: prove that the
    ledger wrote the events that the trial balance counts; None for a log older than MACs.

    Raises BackupRefused, MapperDeserialisationError, OSError, psycopg.Error.
    """
    with psycopg.connect(
        owner_url, application_name="chatledger backup", connect_timeout=connect_timeout_s
    ) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        # All that follows sees what was committed at the first statement.
        if not is_ledger(connection):
            raise BackupRefused("there is no ledger in this database yet; nothing to back up")
        connection.execute("SET LOCAL TimeZone = 'UTC'")
        with new_archive(path) as archive:
            return _write(connection, archive, made_at, on_progress, macs=macs)


def _write(
    connection: psycopg.Connection[Any],
    archive: ArchiveWriter,
    made_at: datetime,
    on_progress: Callable[[float], None],
    *,
    macs: StateMacs | None,
) -> Manifest:
    tables = tables_of(connection)
    entries = [
        _write_table(
            connection, archive, name, columns, on_progress if name == EVENTS_TABLE else _ignore
        )
        for name, columns in tables.items()
    ]
    events, position = log_size(connection)
    manifest = Manifest(
        made_at=made_at,
        server_version=connection.info.server_version,
        migrations=migrations_of(connection),
        tables=entries,
        sequences=[
            SequenceEntry(name=name, last_value=last, is_called=called)
            for name, last, called in sequences_of(connection)
        ],
        events=events,
        position=position,
        accounts=accounts_of(connection, position, macs),
        needs_sealing=SEALS_TABLE not in tables or read_log_state(connection).needs_sealing,
    )
    archive.finish(manifest)
    on_progress(1.0)
    return manifest


def _write_table(
    connection: psycopg.Connection[Any],
    archive: ArchiveWriter,
    name: str,
    columns: list[str],
    on_progress: Callable[[float], None],
) -> TableEntry:
    rows = count_rows(connection, name)
    size = connection.execute(
        "SELECT greatest(pg_table_size(%s::regclass), 1)", (f"{SCHEMA}.{name}",)
    ).fetchone()
    assert size is not None
    copy = sql.SQL("COPY {} ({}) TO STDOUT (FORMAT binary)").format(
        sql.Identifier(SCHEMA, name), sql.SQL(", ").join(map(sql.Identifier, columns))
    )

    def chunks() -> Iterator[Piece]:
        written = 0
        with connection.cursor() as cursor, cursor.copy(copy) as rows_out:
            for chunk in rows_out:
                written += len(chunk)
                on_progress(min(written / size[0], 0.95))
                yield chunk

    return archive.add_table(name, columns, chunks(), rows)


def is_ledger(connection: psycopg.Connection[Any]) -> bool:
    found = connection.execute(
        "SELECT to_regclass(%s) IS NOT NULL", (f"{SCHEMA}.{EVENTS_TABLE}",)
    ).fetchone()
    return found == (True,)


def tables_of(connection: psycopg.Connection[Any]) -> dict[str, list[str]]:
    """The columns of every table that belongs into a backup, by the table's name."""
    rows = connection.execute(
        "SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum) FROM pg_class c"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE c.relnamespace = %s::regnamespace AND c.relkind = 'r'"
        " AND a.attgenerated = '' GROUP BY 1 ORDER BY 1",
        (SCHEMA,),
    ).fetchall()
    return {name: columns for name, columns in rows if name not in LEFT_OUT}


def sequences_of(connection: psycopg.Connection[Any]) -> list[tuple[str, int, bool]]:
    names = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind = 'S'"
        " ORDER BY 1",
        (SCHEMA,),
    ).fetchall()
    sequences: list[tuple[str, int, bool]] = []
    for (name,) in names:
        statement = sql.SQL("SELECT last_value, is_called FROM {}").format(
            sql.Identifier(SCHEMA, name)
        )
        row = connection.execute(statement).fetchone()
        assert row is not None
        sequences.append((name, *row))
    return sequences


def migrations_of(connection: psycopg.Connection[Any]) -> list[MigrationEntry]:
    rows = connection.execute(
        "SELECT version, name, sha256 FROM public.chatledger_migrations ORDER BY version"
    ).fetchall()
    return [MigrationEntry(version=row[0], name=row[1], sha256=row[2]) for row in rows]


def count_rows(connection: psycopg.Connection[Any], table: str) -> int:
    statement = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(SCHEMA, table))
    row = connection.execute(statement).fetchone()
    assert row is not None
    return int(row[0])


def log_size(connection: psycopg.Connection[Any]) -> tuple[int, int]:
    """The number of events, and the position of the last one."""
    row = connection.execute(
        "SELECT count(*), coalesce(max(notification_id), 0) FROM ledger.ledger_events"
    ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def accounts_of(
    connection: psycopg.Connection[Any], position: int, macs: StateMacs | None
) -> dict[str, tuple[int, int]]:
    """Debits and credits in micro-credits of every class of account, folded from the events. macs:
    as for `backup`. Raises BackupRefused if the books do not balance."""
    books = TrialBalance()
    scan = LogScan(connection, position, macs)
    for row, event in scan.events(scan.rows(money_topics())):
        books.add(row.position, event)
    if books.difference_micro or books.disagreements:
        raise BackupRefused("the trial balance is wrong; see `chatledger audit trial-balance`")
    return {line.name: (line.debit_micro, line.credit_micro) for line in books.classes}


def _ignore(_fraction: float) -> None:
    """For tables other than the log: only the log is large."""
