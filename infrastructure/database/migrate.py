"""Versioned schema migrations: numbered SQL files, each applied once, in order, under a lock, by
the role that owns the schema. Each applied migration is remembered with the hash of its file, so an
edited file is noticed."""

from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files

import psycopg
import structlog
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

log = structlog.get_logger()

# The first version with the privilege MAINTAIN, without which a role that owns nothing cannot take
# LOCK TABLE … EXCLUSIVE.
SERVER_VERSION_MIN = 170000
# Any number will do, if every version of the service uses the same.
_ADVISORY_LOCK = 7_203_554_001


class MigrationError(Exception):
    """The schema cannot be brought to this version; the text says what to do."""


@dataclass(frozen=True, kw_only=True)
class Migration:
    version: int
    name: str
    text: str

    @property
    def hash(self) -> str:
        return sha256(self.text.encode()).hexdigest()


def bundled_migrations() -> list[Migration]:
    folder = files("infrastructure.database") / "migrations"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    migrations = [
        Migration(
            version=int(name.partition("_")[0]),
            name=name,
            text=(folder / name).read_text(encoding="utf-8"),
        )
        for name in names
    ]
    versions = [migration.version for migration in migrations]
    assert versions == list(range(1, len(versions) + 1)), "migrations count up from one"
    return migrations


def migrate(
    owner_url: str, service_url: str, *, connect_timeout_s: int = 10, up_to: int | None = None
) -> int:
    """Apply the missing migrations, and return the schema's version. up_to: stop at this older
    version, under which something was stored, such as a backup.

    Raises MigrationError for a server that is too old, a role that does not own the schema, a
    schema that is newer than this version of the service, or a migration file that changed after
    it was applied; psycopg.Error when the database cannot be reached or refuses.
    """
    service_role = str(conninfo_to_dict(service_url).get("user", ""))
    with psycopg.connect(owner_url, autocommit=True, connect_timeout=connect_timeout_s) as conn:
        if conn.info.server_version < SERVER_VERSION_MIN:
            raise MigrationError(
                f"PostgreSQL {conn.info.server_version // 10000} is too old; use 17 or later"
            )
        conn.execute("SELECT pg_advisory_lock(%s)", (_ADVISORY_LOCK,))
        try:
            return _apply_missing(conn, service_role, up_to)
        except psycopg.errors.InsufficientPrivilege as error:
            raise MigrationError(
                f"the role {conn.info.user} may not bring the schema up to date"
                f" ({_first_line(error)}); set MIGRATION_DATABASE_URL to the same database as the"
                " role that owns it. docs/servers.md has the commands that make it"
            ) from None
        finally:
            conn.execute("SELECT pg_advisory_unlock(%s)", (_ADVISORY_LOCK,))


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().partition("\n")[0]


def _apply_missing(conn: psycopg.Connection, service_role: str, up_to: int | None) -> int:
    conn.execute(
        "CREATE TABLE IF NOT EXISTS public.chatledger_migrations ("
        " version integer PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL,"
        " applied_at timestamptz NOT NULL DEFAULT now())"
    )
    rows = conn.execute("SELECT version, sha256 FROM public.chatledger_migrations").fetchall()
    applied: dict[int, str] = dict(rows)
    migrations = bundled_migrations()
    newest = max(applied, default=0)
    if newest > len(migrations):
        raise MigrationError(
            f"the database is at schema version {newest}, this service knows {len(migrations)};"
            " install the newer version of chatledger"
        )
    for migration in migrations[:up_to]:
        if migration.version in applied:
            if applied[migration.version] != migration.hash:
                raise MigrationError(
                    f"{migration.name} was changed after it was applied; restore the file and"
                    " put the change into a new migration"
                )
            continue
        role = sql.Identifier(service_role).as_string(conn)
        with conn.transaction():
            conn.execute(migration.text.replace("{service_role}", role).encode())
            conn.execute(
                "INSERT INTO public.chatledger_migrations (version, name, sha256)"
                " VALUES (%s, %s, %s)",
                (migration.version, migration.name, migration.hash),
            )
        log.info("migration_applied", name=migration.name)
    if up_to is None:
        _grant_to_newcomer(conn, service_role)
    return len(migrations[:up_to])


def _grant_to_newcomer(conn: psycopg.Connection, service_role: str) -> None:
    """Grants to a service role that is not the one that the migrations granted to."""
    known = conn.execute(
        "SELECT has_table_privilege(oid, 'ledger.events_with_macs', 'SELECT') FROM pg_roles"
        " WHERE rolname = %s",
        (service_role,),
    ).fetchone()
    if known != (False,):
        return
    text = (files("infrastructure.database") / "service_role.sql").read_text(encoding="utf-8")
    role = sql.Identifier(service_role).as_string(conn)
    with conn.transaction():
        conn.execute(text.replace("{service_role}", role).encode())
    log.info("service_role_granted", role=service_role)
