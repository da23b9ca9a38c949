"""Makes a PostgreSQL cluster, and in it the roles and the database for the first migration."""

import base64
import hashlib
import hmac
import secrets as random
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import psycopg
from psycopg import sql

from infrastructure.embedded.account import Account, folder_argument, give_tree
from infrastructure.embedded.data_folder import DataFolder, Secrets
from infrastructure.embedded.errors import (
    DISK_FULL_TEXT,
    DiskFull,
    ServerDidNotStart,
    StartInterrupted,
)
from infrastructure.embedded.processes import (
    POLL_INTERVAL_S,
    log_size,
    log_tail,
    processes_in,
    send,
    spawn,
    wait_until,
)
from infrastructure.process.files import flush_to_disk

DATABASE = "chatledger"
SUPERUSER = "postgres"
OWNER = "chatledger_owner"
SERVICE = "chatledger_service"
SCRAM_ITERATIONS = 4096
SCRAM_SALT_BYTES = 16
CONNECT_TIMEOUT_S = 10
KILL_TIMEOUT_S = 5.0


def create_cluster(
    data: DataFolder,
    *,
    programs: Path,
    account: Account | None,
    password: str,
    timeout_s: float,
    stopping: threading.Event,
) -> None:
    """Run initdb in a folder beside the cluster's place, and move the whole cluster there.

    A start that is killed on the way leaves only `postgres.partial`, which the next one replaces.
    Raises ServerDidNotStart, DiskFull, StartInterrupted or OSError.
    """
    partial, folder = data.cluster_partial, data.cluster_partial / "data"
    for program in ("initdb", "postgres"):
        _kill_all_in(folder, program)
    if partial.exists():
        shutil.rmtree(partial)
    folder.mkdir(mode=0o700, parents=True)
    partial.chmod(0o700)
    password_file = partial / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    if account is not None:
        give_tree(partial, account)
    command = [
        str(programs / "bin" / "initdb"),
        f"--pgdata={folder_argument(folder, account)}",
        f"--username={SUPERUSER}",
        # Relative to the working directory, which is the new cluster.
        "--pwfile=../password",
        "--auth-local=reject",
        "--auth-host=scram-sha-256",
        "--encoding=UTF8",
        # PostgreSQL's own C.UTF-8 sorts alike on all systems and needs no installed locale.
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--data-checksums",
        "--no-instructions",
    ]
    _run(command, data, folder=folder, account=account, timeout_s=timeout_s, stopping=stopping)
    folder.rename(data.cluster)
    shutil.rmtree(partial)
    flush_to_disk(data.path)


def reset_superuser_password(
    data: DataFolder,
    *,
    programs: Path,
    account: Account | None,
    password: str,
    timeout_s: float,
    stopping: threading.Event,
) -> None:
    """Set a new superuser password in single-user mode, because the old one is lost.

    No server may be running on the cluster.
    """
    verifier = scram_verifier(password, random.token_bytes(SCRAM_SALT_BYTES))
    statement = f"ALTER ROLE {SUPERUSER} PASSWORD '{verifier}';\n"
    command = [str(programs / "bin" / "postgres"), "--single"]
    command += ["-D", folder_argument(data.cluster, account), "postgres"]
    _run(
        command,
        data,
        folder=data.cluster,
        account=account,
        timeout_s=timeout_s,
        stopping=stopping,
        text=statement,
    )


def ensure_roles_and_database(superuser_url: str, secrets: Secrets) -> None:
    """Make the roles and the database if they are missing, and set both passwords.

    The service's role can log in and use what migrations grant it. It can create nothing.
    """
    connect_timeout = CONNECT_TIMEOUT_S
    with psycopg.connect(
        superuser_url, autocommit=True, connect_timeout=connect_timeout
    ) as connection:
        passwords = {OWNER: secrets.postgres_owner, SERVICE: secrets.postgres_service}
        with connection.transaction():
            for role, password in passwords.items():
                _ensure_role(connection, role, password)
        found = connection.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,))
        if found.rowcount == 0:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(
                    sql.Identifier(DATABASE), sql.Identifier(OWNER)
                )
            )
        restrict_database(connection, DATABASE)
        connection.execute("REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC")


def restrict_database(connection: psycopg.Connection, database: str) -> None:
    """Let only the owner and the service's role connect."""
    name = sql.Identifier(database)
    with connection.transaction():
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
        connection.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(name, sql.Identifier(SERVICE))
        )


def scram_verifier(password: str, salt: bytes) -> str:
    """What PostgreSQL stores instead of a password (RFC 5802, RFC 5803).

    It is sent in place of the password, so that no log can hold the password itself.
    """
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, SCRAM_ITERATIONS)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    encoded = [base64.b64encode(part).decode() for part in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${SCRAM_ITERATIONS}:{encoded[0]}${encoded[1]}:{encoded[2]}"


def _ensure_role(connection: psycopg.Connection, role: str, password: str) -> None:
    found = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,))
    if found.rowcount == 0:
        connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
    verifier = scram_verifier(password, random.token_bytes(SCRAM_SALT_BYTES))
    connection.execute(
        sql.SQL(
            "ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
            " PASSWORD {}"
        ).format(sql.Identifier(role), sql.Literal(verifier))
    )


def _run(
    command: list[str],
    data: DataFolder,
    *,
    folder: Path,
    account: Account | None,
    timeout_s: float,
    stopping: threading.Event,
    text: str = "",
) -> None:
    """Run a program of PostgreSQL to its end. text: its input.

    Raises ServerDidNotStart, DiskFull or StartInterrupted.
    """
    deadline = time.monotonic() + timeout_s
    log_start_bytes = log_size(data.postgres_log)
    child = spawn(
        command,
        folder=folder,
        account=account,
        death_signal=signal.SIGTERM,
        log_file=data.postgres_log,
        stdin=subprocess.PIPE,
    )
    assert child.stdin is not None
    try:
        with child.stdin as stdin:
            stdin.write(text.encode())
        while child.poll() is None and time.monotonic() < deadline:
            if stopping.is_set():
                raise StartInterrupted("PostgreSQL was stopped while it was being prepared")
            time.sleep(POLL_INTERVAL_S)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    if child.returncode == 0:
        return
    lines = log_tail(data.postgres_log, log_start_bytes)
    if any(DISK_FULL_TEXT in line for line in lines):
        raise DiskFull(data.path, free_bytes=None, needed_bytes=data.min_free_bytes)
    reason = f"{Path(command[0]).name} ended with status {child.returncode}"
    raise ServerDidNotStart("PostgreSQL", reason, log_file=data.postgres_log, log_lines=lines)


def _kill_all_in(folder: Path, program: str) -> None:
    """With SIGKILL, because a cluster that was never finished has nothing to lose."""
    send(processes_in(folder, program), signal.SIGKILL)
    wait_until(lambda: not processes_in(folder, program), KILL_TIMEOUT_S)
