"""The chain is made where the log is written, whoever writes, and nobody can write past it."""

import concurrent.futures
from datetime import datetime
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from domain.proofs.leaves import CHAIN_START, Link, event_leaf, microseconds
from infrastructure.database.migrate import bundled_migrations, migrate
from tests.infrastructure.event_store.commit_store import Store, commit, event
from tests.projections.log import Log
from tests.projections.random_history import RandomHistory
from tests.support.servers import DatabaseUrls


def links(url: str) -> list[Link]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT position, events, entries, hash FROM ledger.links ORDER BY position"
        ).fetchall()
    return [Link(*row) for row in rows]


def leaves_by_position(url: str) -> dict[int, bytes]:
    """Computed here, of what the table holds."""
    with psycopg.connect(url) as connection:
        rows: list[tuple[int, UUID, int, datetime, str, bytes]] = connection.execute(
            "SELECT notification_id, originator_id, originator_version, recorded_at, topic, state"
            " FROM ledger.ledger_events ORDER BY notification_id"
        ).fetchall()
    return {
        position: event_leaf(
            position=position,
            stream_id=stream_id.bytes,
            version=version,
            recorded_us=microseconds(recorded_at),
            topic=topic.encode(),
            state=bytes(state),
        )
        for position, stream_id, version, recorded_at, topic, state in rows
    }


def assert_chained(url: str) -> list[Link]:
    """Every event of the table, and nothing else, is in a link, and every link follows."""
    chained: dict[int, bytes] = {}
    chain = CHAIN_START
    found = links(url)
    for link in found:
        assert link.follows(chain)
        assert link.first_index == len(chained)
        chained |= zip(link.positions(), link.leaves(), strict=True)
        assert link.events == len(chained)
        assert link.position == max(chained)
        chain = link.hash
    assert list(chained) == sorted(chained)
    assert chained == leaves_by_position(url)
    return found


def test_the_librarys_own_inserts_are_chained(event_log: Log, database: DatabaseUrls) -> None:
    event_log.append(RandomHistory(41).commits(40))

    assert len(assert_chained(database.service)) == 40


async def test_commits_of_a_group_are_chained_together(
    store: Store, migrated: DatabaseUrls
) -> None:
    errors = await store.store(
        commit(event("a"), event("b")),
        commit(event("first")),  # is there already
        commit(event("c", topic="Größe", state=b"")),
    )

    assert [error is None for error in errors] == [True, False, True]
    found = assert_chained(migrated.service)
    assert found[-1].events == 4
    assert max(len(link.leaves()) for link in found) > 1


async def test_an_event_that_is_in_nobodys_way_leaves_a_gap_and_the_chain_whole(
    store: Store, migrated: DatabaseUrls
) -> None:
    with psycopg.connect(migrated.service) as connection:
        connection.execute("SELECT nextval('ledger.ledger_events_notification_id_seq')")
    await store.store(commit(event("a")))

    assert assert_chained(migrated.service)[-1].positions() == [3]


def test_a_log_from_before_there_was_a_chain_is_chained_by_the_migration(
    database: DatabaseUrls,
) -> None:
    role = str(conninfo_to_dict(database.service)["user"])
    with psycopg.connect(database.owner, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE public.chatledger_migrations (version integer PRIMARY KEY,"
            " name text NOT NULL, sha256 text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )
        for old in bundled_migrations()[:2]:
            quoted = sql.Identifier(role).as_string(connection)
            connection.execute(old.text.replace("{service_role}", quoted).encode())
            connection.execute(
                "INSERT INTO chatledger_migrations VALUES (%s, %s, %s)",
                (old.version, old.name, old.hash),
            )
        connection.execute(
            "INSERT INTO ledger.ledger_events (originator_id, originator_version, topic, state,"
            " notification_id) SELECT gen_random_uuid(), 1, 'old', '{}', 2 * n"
            " FROM generate_series(1, 2345) n"
        )

    migrate(database.owner, database.service)

    assert [link.events for link in assert_chained(database.service)] == [1000, 2000, 2345]
    with psycopg.connect(database.owner) as connection:
        connection.execute("SELECT setval('ledger.ledger_events_notification_id_seq', 4690)")
        connection.execute(
            "INSERT INTO ledger.ledger_events (originator_id, originator_version, topic, state)"
            " VALUES (gen_random_uuid(), 1, 'new', '{}')"
        )
    assert assert_chained(database.service)[-1].positions() == [4691]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO ledger.ledger_events (originator_id, originator_version, topic, state,"
        " notification_id) VALUES (gen_random_uuid(), 1, 't', '', 99)",
        "INSERT INTO ledger.ledger_events (originator_id, originator_version, topic, state,"
        " recorded_at) VALUES (gen_random_uuid(), 1, 't', '', now())",
        "INSERT INTO ledger.links VALUES (9, 9, '', '')",
        "UPDATE ledger.links SET hash = ''",
        "DELETE FROM ledger.checkpoints",
        "UPDATE ledger.tree_nodes SET hash = ''",
        "UPDATE ledger.identity SET id = gen_random_uuid()",
        "ALTER TABLE ledger.ledger_events DISABLE TRIGGER ledger_events_chain",
    ],
)
def test_the_service_cannot_write_past_the_chain(statement: str, migrated: DatabaseUrls) -> None:
    with (
        psycopg.connect(migrated.service, autocommit=True) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


@pytest.mark.parametrize("table", ["identity", "links", "tree_nodes", "checkpoints"])
def test_not_even_the_owner_changes_what_proves_the_log(table: str, migrated: DatabaseUrls) -> None:
    with psycopg.connect(migrated.owner, autocommit=True) as connection:
        for statement in ("DELETE FROM {}", "TRUNCATE {}"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
                connection.execute(sql.SQL(statement).format(sql.Identifier("ledger", table)))


def test_a_position_before_the_logs_end_is_refused(migrated: DatabaseUrls) -> None:
    with psycopg.connect(migrated.owner, autocommit=True) as connection:
        statement = (
            "INSERT INTO ledger.ledger_events (originator_id, originator_version, topic, state,"
            " notification_id) VALUES (gen_random_uuid(), 1, 't', '', %s)"
        )
        connection.execute(statement, (7,))
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="position 5 is not behind"):
            connection.execute(statement, (5,))
    assert len(assert_chained(migrated.service)) == 1


def test_writers_that_forget_the_lock_are_chained_in_order_or_refused(
    migrated: DatabaseUrls,
) -> None:
    """The insert itself takes the lock; two that wait for each other are told so."""

    def writer(_: int) -> int:
        stored = 0
        with psycopg.connect(migrated.service, autocommit=True) as connection:
            for _ in range(15):
                try:
                    connection.execute(
                        "INSERT INTO ledger.ledger_events (originator_id, originator_version,"
                        " topic, state) SELECT gen_random_uuid(), 1, 't', '' FROM"
                        " generate_series(1, 3)"
                    )
                    stored += 3
                except psycopg.errors.DeadlockDetected:
                    pass
        return stored

    with psycopg.connect(migrated.owner, autocommit=True) as connection:
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(name))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        stored = sum(pool.map(writer, range(2)))

    assert assert_chained(migrated.service)[-1].events == stored
