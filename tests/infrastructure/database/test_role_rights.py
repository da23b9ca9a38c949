"""What the service's role may do in a database that an operator made with PostgreSQL's defaults."""

from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from infrastructure.database.migrate import migrate
from infrastructure.database.role_rights import describe_rights, rights_beyond_need
from infrastructure.embedded.cluster import OWNER, SERVICE
from infrastructure.embedded.servers import EmbeddedServers
from tests.support.servers import DatabaseUrls, drop_database, fresh_name, with_database

FORGE_A_LINK = """
CREATE TEMPORARY TABLE forged (
    notification_id bigint, originator_id uuid, originator_version bigint,
    recorded_at timestamptz, topic text, state bytea);
CREATE TRIGGER forge AFTER INSERT ON forged REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.chain_events();
INSERT INTO forged VALUES (9000000000000000000, gen_random_uuid(), 1, now(), 'account.opened', '{}')
"""

AN_EVENT = """
INSERT INTO ledger.ledger_events (originator_id, originator_version, topic, state)
VALUES (gen_random_uuid(), 1, 'account.opened', '{}')
"""
A_CHECKPOINT = "INSERT INTO ledger.checkpoints (position, record) VALUES (1, '{}')"


@pytest.fixture
def defaults(embedded_servers: EmbeddedServers) -> Iterator[DatabaseUrls]:
    """As `CREATE DATABASE` leaves it: everybody may connect and make temporary tables."""
    name = fresh_name("defaults")
    with psycopg.connect(embedded_servers.superuser_url, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(
                sql.Identifier(name), sql.Identifier(OWNER)
            )
        )
    yield DatabaseUrls(
        owner=with_database(embedded_servers.owner_database_url, name),
        service=with_database(embedded_servers.service_database_url, name),
    )
    drop_database(embedded_servers, name)


@pytest.fixture
def migrated_defaults(defaults: DatabaseUrls) -> DatabaseUrls:
    migrate(defaults.owner, defaults.service)
    return defaults


def run(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def told(urls: DatabaseUrls) -> list[str]:
    return [right.what for right in rights_beyond_need(urls.service, connect_timeout_s=5)]


def superuser_in(servers: EmbeddedServers, urls: DatabaseUrls) -> str:
    return with_database(servers.superuser_url, urlsplit(urls.owner).path.removeprefix("/"))


def test_a_link_was_forged_before_this_migration_and_is_not_afterwards(
    defaults: DatabaseUrls,
) -> None:
    migrate(defaults.owner, defaults.service, up_to=4)
    run(defaults.service, FORGE_A_LINK)
    run(
        defaults.owner,
        "ALTER TABLE ledger.links DISABLE TRIGGER append_only; DELETE FROM ledger.links;"
        "ALTER TABLE ledger.links ENABLE ALWAYS TRIGGER append_only",
    )
    migrate(defaults.owner, defaults.service)

    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="temporary tables"):
        run(defaults.service, FORGE_A_LINK)


def test_a_trigger_function_of_the_log_refuses_every_other_table(
    migrated_defaults: DatabaseUrls,
) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="is not chained"):
        run(migrated_defaults.owner, FORGE_A_LINK)


@pytest.mark.parametrize("function", ["chain_events", "lock_log", "refuse_change"])
def test_no_function_of_the_log_is_everybodys(
    function: str, migrated_defaults: DatabaseUrls
) -> None:
    with psycopg.connect(migrated_defaults.service) as connection:
        row = connection.execute(
            "SELECT has_function_privilege(%s, 'EXECUTE')", (f"ledger.{function}()",)
        ).fetchone()
    assert row == (False,)


def test_nor_is_what_a_later_migration_makes(migrated_defaults: DatabaseUrls) -> None:
    run(
        migrated_defaults.owner,
        "CREATE FUNCTION ledger.later() RETURNS int LANGUAGE sql RETURN 1",
    )
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run(migrated_defaults.service, "SELECT ledger.later()")


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO ledger.checkpoints (number, position, record) OVERRIDING SYSTEM VALUE"
        " VALUES (9000000000000000000, 1, 'forged')",
        "SELECT setval('ledger.ledger_events_notification_id_seq', 9000000000000000000)",
        "SELECT setval('ledger.checkpoints_number_seq', 9000000000000000000)",
        "INSERT INTO ledger.identity VALUES (gen_random_uuid(), true)",
        "CREATE TEMPORARY SEQUENCE mine",
        "CREATE TABLE public.mine (n integer)",
    ],
)
def test_no_position_and_no_number_is_the_services_to_give(
    statement: str, migrated_defaults: DatabaseUrls
) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run(migrated_defaults.service, statement)


def test_a_role_as_the_migrations_leave_it_has_nothing_beyond_its_need(
    migrated_defaults: DatabaseUrls,
) -> None:
    assert told(migrated_defaults) == []


@pytest.mark.parametrize(
    ("grant", "what"),
    [
        ("GRANT TEMPORARY ON DATABASE {database} TO PUBLIC", "may make temporary tables"),
        ("GRANT CREATE ON DATABASE {database} TO {service}", "may create schemas"),
        ("GRANT CREATE ON SCHEMA public TO PUBLIC", "may create in the schema public"),
        ("GRANT DELETE ON ledger.ledger_events TO {service}", "may delete ledger.ledger_events"),
        ("GRANT UPDATE (state) ON ledger.ledger_events TO {service}", "may update ledger.ledger"),
        ("GRANT INSERT ON ledger.ledger_events TO {service}", "may give notification_id of"),
        ("GRANT INSERT ON ledger.links TO PUBLIC", "may insert ledger.links"),
        ("GRANT TRIGGER ON ledger.ledger_events TO {service}", "may trigger ledger.ledger_events"),
        ("GRANT UPDATE ON SEQUENCE ledger.checkpoints_number_seq TO {service}", "may set the seq"),
        ("GRANT EXECUTE ON FUNCTION ledger.chain_events() TO PUBLIC", "ledger.chain_events()"),
        ("GRANT UPDATE ON public.chatledger_migrations TO {service}", "may update public.chatledg"),
        ("GRANT SET ON PARAMETER session_replication_role TO {service}", "may set session_replic"),
        ("GRANT EXECUTE ON FUNCTION pg_read_file(text) TO {service}", "may execute pg_read_file"),
    ],
)
def test_each_right_that_somebody_adds_is_named_and_its_remedy_takes_it_away(
    grant: str, what: str, migrated_defaults: DatabaseUrls, embedded_servers: EmbeddedServers
) -> None:
    superuser = superuser_in(embedded_servers, migrated_defaults)
    names = {"database": urlsplit(superuser).path.removeprefix("/"), "service": SERVICE}
    run(superuser, grant.format(**names))

    found = rights_beyond_need(migrated_defaults.service, connect_timeout_s=5)

    assert any(what in right.what for right in found), found
    for right in found:
        run(superuser, right.remedy)
    assert told(migrated_defaults) == []
    run(migrated_defaults.service, AN_EVENT)
    run(migrated_defaults.service, A_CHECKPOINT)


def granted(urls: DatabaseUrls) -> set[tuple[str, ...]]:
    """Object, column and right of everything that the service's role was granted."""
    query = f"""
        SELECT found.name, a.privilege_type FROM (
            SELECT oid::regclass::text AS name, relacl AS acl, relnamespace AS home FROM pg_class
            UNION ALL SELECT attrelid::regclass || '.' || attname, attacl, relnamespace
            FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid
            UNION ALL SELECT oid::regprocedure::text, proacl, pronamespace FROM pg_proc
            UNION ALL SELECT nspname, nspacl, oid FROM pg_namespace
        ) AS found CROSS JOIN LATERAL aclexplode(found.acl) AS a
        WHERE found.home::regnamespace::text IN ('ledger', 'read', 'read_shadow')
          AND a.grantee = '{SERVICE}'::regrole"""
    with psycopg.connect(urls.owner) as connection:
        return set(connection.execute(query.encode()).fetchall())


def test_a_role_that_comes_after_the_migrations_has_what_they_would_have_granted(
    defaults: DatabaseUrls, database: DatabaseUrls
) -> None:
    migrate(defaults.owner, defaults.owner)
    assert granted(defaults) == set()

    migrate(defaults.owner, defaults.service)

    migrate(database.owner, database.service)
    assert granted(defaults) == granted(database)
    assert len(granted(database)) > 20
    assert told(defaults) == []
    run(defaults.service, AN_EVENT)


def test_rights_that_come_by_another_role_count(
    migrated_defaults: DatabaseUrls, embedded_servers: EmbeddedServers
) -> None:
    superuser, group = superuser_in(embedded_servers, migrated_defaults), fresh_name("group")
    # Without INHERIT, it has to become that role first.
    run(superuser, f"CREATE ROLE {group} CREATEROLE NOINHERIT")
    run(superuser, f"GRANT {group} TO {SERVICE} WITH INHERIT FALSE")
    try:
        run(superuser, f"GRANT DELETE ON ledger.ledger_events TO {group}")
        found = told(migrated_defaults)
        assert f"may create roles through {group}" in found
        assert f"may delete ledger.ledger_events through {group}" in found
        run(superuser, f"GRANT pg_write_server_files TO {group}")
        assert "is a member of pg_write_server_files" in told(migrated_defaults)
    finally:
        run(superuser, f"DROP OWNED BY {group}; DROP ROLE {group}")


def test_one_role_for_all_is_named_as_the_owner_that_it_is(defaults: DatabaseUrls) -> None:
    migrate(defaults.owner, defaults.owner)
    found = rights_beyond_need(defaults.owner, connect_timeout_s=5)
    text = describe_rights(found)
    assert "it owns the database" in text
    assert "MIGRATION_DATABASE_URL" in text


def test_a_superuser_is_named_as_one_and_as_nothing_more(
    migrated_defaults: DatabaseUrls, embedded_servers: EmbeddedServers
) -> None:
    superuser = superuser_in(embedded_servers, migrated_defaults)
    found = [right.what for right in rights_beyond_need(superuser, connect_timeout_s=5)]
    assert found == ["is a superuser"]


def test_no_password_is_told(migrated_defaults: DatabaseUrls) -> None:
    parts = urlsplit(migrated_defaults.owner)
    url = urlunsplit(parts)
    said = describe_rights(rights_beyond_need(url, connect_timeout_s=5))
    assert parts.password is not None
    assert parts.password not in said
