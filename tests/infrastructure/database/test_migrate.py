import concurrent.futures
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from infrastructure.database import migrate as module
from infrastructure.database.migrate import MigrationError, bundled_migrations, migrate
from infrastructure.embedded.servers import EmbeddedServers
from tests.projections.log import Log
from tests.projections.random_history import RandomHistory
from tests.support.servers import DatabaseUrls, with_database

NEWEST = len(bundled_migrations())


def applied(owner_url: str) -> list[int]:
    with psycopg.connect(owner_url) as connection:
        rows = connection.execute("SELECT version FROM chatledger_migrations ORDER BY 1").fetchall()
    return [version for (version,) in rows]


def test_migrating_again_changes_nothing(database: DatabaseUrls) -> None:
    assert migrate(database.owner, database.service) == NEWEST
    assert migrate(database.owner, database.service) == NEWEST
    assert applied(database.owner) == list(range(1, NEWEST + 1))


def test_services_that_start_at_once_migrate_one_after_the_other(database: DatabaseUrls) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        started = [pool.submit(migrate, database.owner, database.service) for _ in range(4)]
        assert [future.result() for future in started] == [NEWEST] * 4
    assert applied(database.owner) == list(range(1, NEWEST + 1))


def test_a_migration_file_that_changed_after_it_was_applied_is_refused(
    database: DatabaseUrls,
) -> None:
    migrate(database.owner, database.service)
    with psycopg.connect(database.owner) as connection:
        connection.execute("UPDATE chatledger_migrations SET sha256 = 'other' WHERE version = 1")

    with pytest.raises(MigrationError, match=r"0001_event_store\.sql was changed after"):
        migrate(database.owner, database.service)


def test_a_schema_newer_than_the_service_is_refused(database: DatabaseUrls) -> None:
    migrate(database.owner, database.service)
    with psycopg.connect(database.owner) as connection:
        connection.execute(
            "INSERT INTO chatledger_migrations (version, name, sha256) VALUES (%s, 'later', '')",
            (NEWEST + 1,),
        )

    with pytest.raises(MigrationError, match="install the newer version"):
        migrate(database.owner, database.service)


def test_a_migration_that_fails_leaves_nothing_behind(database: DatabaseUrls) -> None:
    with psycopg.connect(database.owner) as connection:
        connection.execute("CREATE SCHEMA read")

    with pytest.raises(psycopg.errors.DuplicateSchema):
        migrate(database.owner, database.service)

    assert applied(database.owner) == [1]
    with psycopg.connect(database.owner) as connection:
        connection.execute("DROP SCHEMA read")
    assert migrate(database.owner, database.service) == NEWEST


def test_a_role_that_may_not_migrate_is_told_which_setting_names_one_that_may(
    database: DatabaseUrls,
) -> None:
    with pytest.raises(MigrationError, match="set MIGRATION_DATABASE_URL to the same database"):
        migrate(database.service, database.service)


def test_every_migration_file_is_part_of_the_package() -> None:
    folder = Path(module.__file__).parent / "migrations"
    assert [migration.name for migration in bundled_migrations()] == sorted(
        path.name for path in folder.glob("*.sql")
    )


CHANGES = [
    "UPDATE ledger.ledger_events SET topic = 'other'",
    "DELETE FROM ledger.ledger_events",
    "TRUNCATE ledger.ledger_events",
]


def assert_refused(
    connection: psycopg.Connection, statement: str, *, match: str | None = None
) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match=match):
        connection.execute(statement.encode())


def test_not_even_the_owner_changes_the_log(event_log: Log, database: DatabaseUrls) -> None:
    event_log.append(RandomHistory(1).commits(1))
    with psycopg.connect(database.owner, autocommit=True) as connection:
        for statement in CHANGES:
            assert_refused(connection, statement, match="append-only")


def test_not_even_a_replica_session_changes_the_log(
    event_log: Log, database: DatabaseUrls, embedded_servers: EmbeddedServers
) -> None:
    """session_replication_role = replica skips ordinary triggers; only a superuser may set it."""
    event_log.append(RandomHistory(2).commits(1))
    name = str(conninfo_to_dict(database.owner)["dbname"])
    superuser_url = with_database(embedded_servers.superuser_url, name)
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        for statement in CHANGES:
            assert_refused(connection, statement, match="append-only")


def test_the_service_may_only_read_and_add(event_log: Log, database: DatabaseUrls) -> None:
    event_log.append(RandomHistory(3).commits(1))
    with psycopg.connect(database.service, autocommit=True) as connection:
        for statement in (
            *CHANGES,
            "ALTER TABLE ledger.ledger_events DISABLE TRIGGER ALL",
            "DROP TABLE ledger.ledger_events",
            "CREATE TABLE ledger.other (id integer)",
            "CREATE TABLE read.other (id integer)",
            "TRUNCATE read.journal",
            "DELETE FROM ledger.ledger_snapshots",
            "UPDATE public.chatledger_migrations SET sha256 = ''",
            "ALTER SEQUENCE ledger.ledger_events_notification_id_seq RESTART",
            "SELECT setval('ledger.ledger_events_notification_id_seq', 1)",
        ):
            assert_refused(connection, statement)
