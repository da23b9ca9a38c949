"""What the service's role may do beyond what the service needs, and the SQL that takes it away.

Each question is asked for every role that the service's role can become or inherits from.
PostgreSQL's own functions answer, and they include what is granted to everybody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

# More would fill a screen where a role owns everything.
_TOLD_MAX = 12


@dataclass(frozen=True, order=True)
class Right:
    """what: completes a sentence that begins with "the service's role". remedy: SQL for the
    schema's owner or a superuser."""

    what: str
    remedy: str


def rights_beyond_need(service_url: str, *, connect_timeout_s: int) -> list[Right]:
    """Raises psycopg.Error."""
    with psycopg.connect(
        service_url,
        autocommit=True,
        application_name="chatledger rights",
        connect_timeout=connect_timeout_s,
    ) as connection:
        found = _asked(connection, _ATTRIBUTES)
        # A superuser may do everything, and an owner everything with its objects: one right says
        # it.
        superuser = [right for right in found if right.what.startswith("is a superuser")]
        if superuser:
            return superuser
        owned = _asked(connection, _OWNS)
        found += owned + _asked(connection, _DATABASE)
        return found if owned else found + _asked(connection, _OBJECTS)


def describe_rights(rights: Sequence[Right]) -> str:
    told = "; ".join(f"it {right.what} ({right.remedy})" for right in rights[:_TOLD_MAX])
    more = len(rights) - _TOLD_MAX
    return told + (f"; and {more} more" if more > 0 else "")


def _asked(connection: psycopg.Connection[Any], query: str) -> list[Right]:
    rows = connection.execute(f"{_ROLES} {query} ORDER BY 1, 2".encode()).fetchall()
    return [Right(*row) for row in rows]


_ROLES = """
WITH me AS (
    SELECT oid, rolname, quote_ident(rolname) AS name FROM pg_roles WHERE rolname = current_user
), roles AS (
    -- Owning the database makes a role a member of pg_database_owner, and is told by itself.
    SELECT r.*, CASE WHEN r.oid = me.oid THEN '' ELSE ' through ' || r.rolname END AS via,
        CASE WHEN r.oid = me.oid THEN 'PUBLIC, ' || me.name ELSE quote_ident(r.rolname) END
            AS holders
    FROM pg_roles AS r, me
    WHERE pg_has_role(me.oid, r.oid, 'MEMBER') AND r.rolname <> 'pg_database_owner'
), own AS (
    SELECT oid, nspname FROM pg_namespace
    WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%'
)
"""

_ATTRIBUTES = """
SELECT what || r.via,
       CASE WHEN r.oid = me.oid THEN format('ALTER ROLE %s %s', me.name, remedy)
            ELSE format('REVOKE %I FROM %s', r.rolname, me.name) END
FROM me, roles AS r CROSS JOIN LATERAL (VALUES
    (r.rolsuper, 'is a superuser', 'NOSUPERUSER'),
    (r.rolcreaterole, 'may create roles', 'NOCREATEROLE'),
    (r.rolcreatedb, 'may create databases', 'NOCREATEDB'),
    (r.rolreplication, 'may replicate the server', 'NOREPLICATION'),
    (r.rolbypassrls, 'bypasses row security', 'NOBYPASSRLS')
) AS a (has, what, remedy) WHERE has
UNION
SELECT format('is a member of %s', r.rolname), format('REVOKE %I FROM %s', r.rolname, me.name)
FROM me, roles AS r WHERE r.rolname LIKE 'pg\\_%'
"""

_OWNS = """
SELECT 'owns the database ' || d.datname || r.via,
       format('ALTER DATABASE %I OWNER TO another, and set MIGRATION_DATABASE_URL to that',
              d.datname)
FROM pg_database AS d, roles AS r WHERE d.datname = current_database() AND r.oid = d.datdba
UNION
SELECT format('owns %s in the schema %s%s', what, own.nspname, r.via),
       format('REASSIGN OWNED BY %I TO another, and set MIGRATION_DATABASE_URL to that', r.rolname)
FROM own JOIN (
    SELECT oid AS namespace, nspowner AS owner, 'everything' AS what FROM pg_namespace
    UNION SELECT relnamespace, relowner, 'tables' FROM pg_class
    UNION SELECT pronamespace, proowner, 'functions' FROM pg_proc
) AS o ON o.namespace = own.oid JOIN roles AS r ON r.oid = o.owner
"""

_DATABASE = """
SELECT format(CASE kind WHEN 'CREATE' THEN 'may create schemas in the database %s'
                        ELSE 'may make temporary tables in the database %s' END,
              current_database()) || r.via,
       format('REVOKE %s ON DATABASE %I FROM %s', kind, current_database(), r.holders)
FROM roles AS r, unnest(ARRAY['CREATE', 'TEMPORARY']) AS kind
WHERE has_database_privilege(r.oid, current_database(), kind)
UNION
SELECT 'may create in the schema ' || own.nspname || r.via,
       format('REVOKE CREATE ON SCHEMA %I FROM %s', own.nspname, r.holders)
FROM roles AS r, own WHERE has_schema_privilege(r.oid, own.oid, 'CREATE')
UNION
SELECT 'may set ' || a.parname || r.via, format('REVOKE ALL ON PARAMETER %I FROM %s',
                                       a.parname, r.holders)
FROM roles AS r, pg_parameter_acl AS a
WHERE has_parameter_privilege(r.oid, a.parname, 'SET, ALTER SYSTEM')
"""

# What is left out here is what the service needs. Columns are asked, because a right on one of
# them is not one on the table.
_OBJECTS = """
SELECT format('may %s %s.%s', lower(kind), own.nspname, c.relname) || r.via,
       format('REVOKE %s ON %I.%I FROM %s', kind, own.nspname, c.relname, r.holders)
FROM roles AS r, pg_class AS c JOIN own ON own.oid = c.relnamespace, unnest(ARRAY[
    'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN']) AS kind
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND CASE
    WHEN kind IN ('INSERT', 'UPDATE', 'REFERENCES')
        THEN has_any_column_privilege(r.oid, c.oid, kind)
    ELSE has_table_privilege(r.oid, c.oid, kind) END
  AND CASE own.nspname
    WHEN 'read' THEN kind IN ('REFERENCES', 'TRIGGER')
    WHEN 'read_shadow' THEN kind IN ('REFERENCES', 'TRIGGER')
    WHEN 'ledger' THEN NOT (
        kind = 'INSERT' AND c.relname NOT IN (
            'identity', 'links', 'before_macs', 'seals', 'events_with_macs')
        OR kind = 'MAINTAIN' AND c.relname = 'ledger_events')
    ELSE true END
UNION
SELECT format('may give %s of ledger.%s itself', a.attname, c.relname) || r.via,
       format('REVOKE INSERT ON ledger.%1$I FROM %2$s; GRANT INSERT (%3$s) ON ledger.%1$I TO %4$s',
              c.relname, r.holders, needed.columns, me.name)
FROM me, roles AS r, pg_class AS c
    CROSS JOIN LATERAL (
        -- Taking the right on the table away takes it from every column.
        SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) AS columns
        FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
          AND attname NOT IN ('notification_id', 'recorded_at', 'number')) AS needed
    JOIN own ON own.oid = c.relnamespace JOIN pg_attribute AS a ON a.attrelid = c.oid
WHERE own.nspname = 'ledger'
  AND (c.relname, a.attname) IN (('ledger_events', 'notification_id'),
      ('ledger_events', 'recorded_at'), ('checkpoints', 'number'))
  AND has_column_privilege(r.oid, c.oid, a.attnum, 'INSERT')
UNION
SELECT format('may set the sequence %s.%s', own.nspname, c.relname) || r.via,
       format('REVOKE UPDATE ON SEQUENCE %I.%I FROM %s', own.nspname, c.relname, r.holders)
FROM roles AS r, pg_class AS c JOIN own ON own.oid = c.relnamespace
WHERE c.relkind = 'S' AND has_sequence_privilege(r.oid, c.oid, 'UPDATE')
UNION
SELECT format('may execute %s with its owner''s rights', p.oid::regprocedure) || r.via,
       format('REVOKE EXECUTE ON FUNCTION %s FROM %s', p.oid::regprocedure, r.holders)
FROM roles AS r, pg_proc AS p JOIN own ON own.oid = p.pronamespace
WHERE p.prosecdef AND has_function_privilege(r.oid, p.oid, 'EXECUTE')
  AND (own.nspname, p.proname) NOT IN (
      ('read_shadow', 'begin'), ('read_shadow', 'complete'), ('read_shadow', 'exchange'))
UNION
-- Functions that PostgreSQL keeps from everybody, such as those that read files.
SELECT format('may execute %s', p.oid::regprocedure) || r.via,
       format('REVOKE EXECUTE ON FUNCTION %s FROM %s', p.oid::regprocedure, r.holders)
FROM roles AS r, pg_proc AS p
    JOIN pg_init_privs AS i ON i.objoid = p.oid AND i.classoid = 'pg_proc'::regclass
WHERE p.pronamespace = 'pg_catalog'::regnamespace
  AND NOT EXISTS (SELECT FROM aclexplode(i.initprivs) AS a WHERE a.grantee = 0)
  AND has_function_privilege(r.oid, p.oid, 'EXECUTE')
UNION
SELECT 'may use the foreign server ' || s.srvname || r.via,
       format('REVOKE USAGE ON FOREIGN SERVER %I FROM %s', s.srvname, r.holders)
FROM roles AS r, pg_foreign_server AS s WHERE has_server_privilege(r.oid, s.oid, 'USAGE')
UNION
SELECT 'may create in the tablespace ' || t.spcname || r.via,
       format('REVOKE CREATE ON TABLESPACE %I FROM %s', t.spcname, r.holders)
FROM roles AS r, pg_tablespace AS t WHERE has_tablespace_privilege(r.oid, t.oid, 'CREATE')
"""
