"""What the two roles may do in the database that the servers prepare."""

import json
import socket
from urllib.parse import urlsplit

import nats
import psycopg
import pytest

from infrastructure.embedded.servers import EmbeddedServers
from infrastructure.relay.nats_connection import RELAY_INBOX
from tests.support.servers import DatabaseUrls, with_database


def test_the_owner_makes_tables_and_the_service_uses_what_it_is_granted(
    database: DatabaseUrls,
) -> None:
    with psycopg.connect(database.owner) as owner:
        owner.execute("CREATE TABLE numbers (n integer)")
        owner.execute("GRANT SELECT, INSERT ON numbers TO chatledger_service")
    with psycopg.connect(database.service) as service:
        service.execute("INSERT INTO numbers VALUES (1)")
        assert service.execute("SELECT n FROM numbers").fetchall() == [(1,)]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (n integer)",
        "CREATE SCHEMA mine",
        "CREATE TEMPORARY TABLE mine (n integer)",
        "CREATE ROLE mine",
        "CREATE DATABASE mine",
        "SELECT pg_read_file('/etc/hostname')",
    ],
)
def test_the_service_may_create_nothing(database: DatabaseUrls, statement: str) -> None:
    with (
        psycopg.connect(database.service, autocommit=True) as service,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        service.execute(statement)


@pytest.mark.parametrize("name", ["postgres", "template1"])
def test_the_service_may_not_enter_other_databases(
    embedded_servers: EmbeddedServers, name: str
) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(with_database(embedded_servers.service_database_url, name))


def test_a_wrong_password_is_refused(embedded_servers: EmbeddedServers) -> None:
    url = embedded_servers.service_database_url
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url, password="wrong")


def test_the_cluster_is_durable_and_checks_its_pages(embedded_servers: EmbeddedServers) -> None:
    with psycopg.connect(embedded_servers.superuser_url) as connection:
        shown = {
            name: connection.execute(f"SHOW {name}").fetchone()
            for name in ("fsync", "synchronous_commit", "data_checksums", "server_encoding")
        }
    assert shown == {
        "fsync": ("on",),
        "synchronous_commit": ("on",),
        "data_checksums": ("on",),
        "server_encoding": ("UTF8",),
    }


async def test_nats_keeps_a_stream_on_disk_for_those_who_know_the_password(
    embedded_servers: EmbeddedServers, stream_prefix: str
) -> None:
    connection = await nats.connect(embedded_servers.nats_url, inbox_prefix=RELAY_INBOX)
    try:
        jetstream = connection.jetstream()
        made = await jetstream.add_stream(name=stream_prefix, subjects=[f"{stream_prefix}.events"])
        assert made.config.storage == "file"
        assert (await jetstream.publish(f"{stream_prefix}.events", b"first")).seq == 1
    finally:
        await connection.close()


@pytest.mark.parametrize("password", ["wrong", None])
def test_nats_refuses_a_wrong_password(
    embedded_servers: EmbeddedServers, password: str | None
) -> None:
    """Spoken by hand, because nats-py leaves a refused connection open."""
    address = urlsplit(embedded_servers.nats_url)
    credentials = {} if password is None else {"user": address.username, "pass": password}
    with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
        connection.sendall(f"CONNECT {json.dumps(credentials)}\r\nPING\r\n".encode())
        with connection.makefile("rb") as answers:
            assert answers.readline().startswith(b"INFO ")
            assert answers.readline() == b"-ERR 'Authorization Violation'\r\n"
