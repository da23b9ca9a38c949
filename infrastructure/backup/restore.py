"""Restores a backup into an empty database. Before anything is committed, what was loaded is
compared with the backup's manifest and with the log's own hash chain."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from application.ledger.event_macs import StateMacs
from infrastructure.backup.archive import (
    ArchiveReader,
    BackupRefused,
    Manifest,
    TableEntry,
    open_archive,
)
from infrastructure.backup.dump import (
    EVENTS_TABLE,
    SCHEMA,
    accounts_of,
    count_rows,
    is_ledger,
    log_size,
    tables_of,
)
from infrastructure.database.migrate import bundled_migrations, migrate

Check = Callable[[psycopg.Connection[Any]], None]

# Every link must be the hash of the link before it and of its own entries. The entries must be
# those of the events between the two links.
_FIRST_BROKEN_LINK = """
SELECT min(link.position) FROM (
    SELECT position, events, entries, hash,
           lag(position, 1, 0::bigint) OVER by_position AS position_before,
           lag(events, 1, 0::bigint) OVER by_position AS events_before,
           lag(hash, 1, decode(repeat('00', 32), 'hex')) OVER by_position AS hash_before
    FROM ledger.links WINDOW by_position AS (ORDER BY position)
) AS link CROSS JOIN LATERAL (
    SELECT count(*) AS events,
           string_agg(
               int8send(notification_id) || ledger.leaf(
                   notification_id, originator_id, originator_version, recorded_at, topic, state),
               NULL ORDER BY notification_id
           ) AS entries
    FROM ledger.ledger_events
    WHERE notification_id > link.position_before AND notification_id <= link.position
) AS made
WHERE link.hash <> sha256(link.hash_before || link.entries)
   OR made.entries IS DISTINCT FROM link.entries
   OR link.events <> link.events_before + made.events
"""
_ENDS = """
SELECT (SELECT coalesce(max(position), 0) FROM ledger.links),
       (SELECT coalesce(max(notification_id), 0) FROM ledger.ledger_events)
"""


def check_chain(connection: psycopg.Connection[Any]) -> None:
    """Raises BackupRefused if the loaded log is not the one that its hash chain was made of. A log
    that is older than the chain passes."""
    if connection.execute("SELECT to_regclass('ledger.links')").fetchone() == (None,):
        return
    broken = connection.execute(_FIRST_BROKEN_LINK).fetchone()
    assert broken is not None
    if broken[0] is not None:
        raise BackupRefused(
            f"the hash chain is broken at the link of position {broken[0]}; use another backup"
        )
    ends = connection.execute(_ENDS).fetchone()
    assert ends is not None
    if ends[0] != ends[1]:
        raise BackupRefused(
            f"the hash chain ends at position {ends[0]} and the log at {ends[1]}; use another"
            " backup"
        )


def restore(
    owner_url: str,
    service_url: str,
    path: Path,
    on_step: Callable[[str], None],
    *,
    check: Check = check_chain,
    macs: StateMacs | None = None,
    connect_timeout_s: int = 5,
) -> Manifest:
    """Restores the log and all that proves it. The caller rebuilds the read models afterwards.

    on_step: gets a text for people. check: examines the loaded log before it is committed, and
    raises if it is not good. macs: as for `backup`.

    Raises BackupRefused, MigrationError, MapperDeserialisationError, OSError, psycopg.Error or what
    check raises. Then the database has no event.
    """
    with open_archive(path) as archive:
        on_step("Checking the file")
        archive.check()
        manifest = archive.manifest
        _check_migrations(manifest)
        _check_empty(owner_url, manifest, connect_timeout_s)
        on_step("Making the schema")
        migrate(
            owner_url,
            service_url,
            connect_timeout_s=connect_timeout_s,
            up_to=len(manifest.migrations),
        )
        with psycopg.connect(
            owner_url, application_name="chatledger restore", connect_timeout=connect_timeout_s
        ) as connection:
            connection.execute("SET LOCAL TimeZone = 'UTC'")
            on_step("Loading the log")
            _load(connection, archive)
            on_step("Checking the books and the chain")
            _compare(connection, manifest, macs)
            check(connection)
    on_step("Bringing the schema up to date")
    migrate(owner_url, service_url, connect_timeout_s=connect_timeout_s)
    return manifest


def _check_migrations(manifest: Manifest) -> None:
    known = bundled_migrations()
    for entry in manifest.migrations:
        if entry.version > len(known):
            raise BackupRefused(
                f"the backup is of schema version {len(manifest.migrations)}, and this chatledger"
                f" knows {len(known)}; install the newer version of chatledger"
            )
        if known[entry.version - 1].hash != entry.sha256:
            raise BackupRefused(
                f"the backup was made with another {entry.name}; restore it with the version of"
                " chatledger that made it"
            )


def _check_empty(owner_url: str, manifest: Manifest, connect_timeout_s: int) -> None:
    with psycopg.connect(owner_url, connect_timeout=connect_timeout_s) as connection:
        if not is_ledger(connection):
            return
        applied = connection.execute("SELECT count(*) FROM public.chatledger_migrations").fetchone()
        if count_rows(connection, EVENTS_TABLE) or applied != (len(manifest.migrations),):
            raise _not_empty()


def _not_empty() -> BackupRefused:
    return BackupRefused(
        "this database has a ledger already; a backup is restored into an empty database: set"
        " DATABASE_URL to a new one, or DATA_DIR to a new folder"
    )


def _load(connection: psycopg.Connection[Any], archive: ArchiveReader) -> None:
    """Load all tables in the connection's transaction. Meanwhile the triggers are off that keep the
    log append-only and extend its chain, because the links come from the backup."""
    manifest = archive.manifest
    # A service that has just been started waits for this lock, or has written before us.
    connection.execute("LOCK TABLE ledger.ledger_events IN ACCESS EXCLUSIVE MODE")
    if count_rows(connection, EVENTS_TABLE):
        raise _not_empty()
    present = tables_of(connection)
    for table in manifest.tables:
        if present.get(table.name) != table.columns:
            raise BackupRefused(
                f"{table.name} of the backup has other columns than the schema; use another backup"
            )
    modes = _trigger_modes(connection)
    for owner, trigger in modes:
        _alter_trigger(connection, owner, trigger, _MODES["D"])
    for table in manifest.tables:
        _load_table(connection, archive, table)
    for (owner, trigger), mode in modes.items():
        _alter_trigger(connection, owner, trigger, _MODES[mode])
    for sequence in manifest.sequences:
        name = sql.Identifier(SCHEMA, sequence.name).as_string(connection)
        connection.execute(
            "SELECT setval(%s::regclass, %s, %s)", (name, sequence.last_value, sequence.is_called)
        )


def _load_table(
    connection: psycopg.Connection[Any], archive: ArchiveReader, table: TableEntry
) -> None:
    name = sql.Identifier(SCHEMA, table.name)
    # A migration may have put rows into the new table.
    connection.execute(sql.SQL("DELETE FROM {}").format(name))
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    copy = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(name, columns)
    with connection.cursor() as cursor, cursor.copy(copy) as rows_in:
        for chunk in archive.chunks(table):
            rows_in.write(chunk)


# By pg_trigger.tgenabled. A trigger that keeps a table append-only must be ALWAYS again.
_MODES = {
    "O": sql.SQL("ENABLE"),
    "A": sql.SQL("ENABLE ALWAYS"),
    "R": sql.SQL("ENABLE REPLICA"),
    "D": sql.SQL("DISABLE"),
}


def _trigger_modes(connection: psycopg.Connection[Any]) -> dict[tuple[str, str], str]:
    rows = connection.execute(
        "SELECT c.relname, t.tgname, t.tgenabled::text FROM pg_trigger t"
        " JOIN pg_class c ON c.oid = t.tgrelid"
        " WHERE c.relnamespace = %s::regnamespace AND NOT t.tgisinternal ORDER BY 1, 2",
        (SCHEMA,),
    ).fetchall()
    return {(table, trigger): mode for table, trigger, mode in rows}


def _alter_trigger(
    connection: psycopg.Connection[Any], table: str, trigger: str, mode: sql.SQL
) -> None:
    connection.execute(
        sql.SQL("ALTER TABLE {} {} TRIGGER {}").format(
            sql.Identifier(SCHEMA, table), mode, sql.Identifier(trigger)
        )
    )


def _compare(
    connection: psycopg.Connection[Any], manifest: Manifest, macs: StateMacs | None
) -> None:
    for table in manifest.tables:
        rows = count_rows(connection, table.name)
        if rows != table.rows:
            raise BackupRefused(
                f"{table.name} has {rows} rows, and {table.rows} were backed up; use another backup"
            )
    if log_size(connection) != (manifest.events, manifest.position):
        raise BackupRefused(
            "the loaded log does not end where the backed-up one did; use another backup"
        )
    if accounts_of(connection, manifest.position, macs) != manifest.accounts:
        raise BackupRefused(
            "the accounts do not hold what they held when backed up; use another backup"
        )
