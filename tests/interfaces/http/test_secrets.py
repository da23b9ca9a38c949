"""Passwords and tokens are stored nowhere: neither in events, nor in read models, nor in NATS."""

import asyncio
from contextlib import suppress
from pathlib import Path

import nats
import psycopg
import pytest
from nats.js.errors import NotFoundError
from psycopg import sql

from infrastructure.embedded.servers import EmbeddedServers
from infrastructure.relay.nats_connection import READER_INBOX
from tests.support.api import JWT_SECRET, PASSWORD, Api, Person

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def a_session(api: Api, person: Person) -> list[str]:
    """Everything a person can do with secrets; returns the secrets."""
    secrets = [PASSWORD, JWT_SECRET, "a wrong password"]
    tokens = [person.tokens]
    body = {"username": person.username, "password": "a wrong password"}
    await api.client.post("/auth/login", json=body)
    refreshed = await api.client.post(
        "/auth/refresh", json={"refresh_token": person.tokens["refresh_token"]}
    )
    tokens.append(refreshed.json())
    person.tokens = refreshed.json()
    await person.say("Hello")
    await person.post("/billing/add", {"amount": 5}, headers={"Idempotency-Key": "a-key"})
    await person.post("/auth/logout")
    for pair in tokens:
        for token in (pair["access_token"], pair["refresh_token"]):
            # The last part is what makes a token one.
            secrets += [token, token.rpartition(".")[2]]
    return secrets


def every_row(service_url: str) -> str:
    """Every row of every table that the service can read, as text, bytes decoded."""
    texts: list[str] = []
    with psycopg.connect(service_url) as connection:
        tables = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables"
            " WHERE table_schema IN ('ledger', 'read')"
        ).fetchall()
        assert len(tables) > 8
        for schema, table in tables:
            rows = connection.execute(
                sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, table))
            ).fetchall()
            texts += [
                value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
                for row in rows
                for value in row
            ]
    return "\n".join(texts)


async def every_message(nats_url: str, stream: str) -> str:
    client = await nats.connect(nats_url, inbox_prefix=READER_INBOX)
    try:
        jetstream = client.jetstream()
        state = (await jetstream.stream_info(stream)).state
        texts = []
        for sequence in range(max(1, state.first_seq), state.last_seq + 1):
            message = await jetstream.get_msg(stream, sequence)
            texts.append((message.data or b"").decode("utf-8", "replace"))
        return "\n".join(texts)
    finally:
        await client.close()


async def test_no_secret_is_stored_anywhere(
    api: Api, person: Person, embedded_servers: EmbeddedServers
) -> None:
    secrets = await a_session(api, person)
    await (await api.person()).get("/billing/balance")  # what came before is projected
    rows = every_row(api.urls.service)
    messages = ""
    async with asyncio.timeout(30):
        # Read models may be fed from PostgreSQL before the relay has made its stream.
        while "account.credits_purchased" not in messages:
            with suppress(NotFoundError):
                messages = await every_message(
                    embedded_servers.nats_read_url, api.settings.nats_stream
                )
            await asyncio.sleep(0.05)

    assert person.username in rows, "the scan sees what is stored"
    for secret in secrets:
        assert secret not in rows
        assert secret not in messages


async def test_a_generated_secret_is_its_owners_alone(tmp_path: Path) -> None:
    from infrastructure.secrets.files import secret_from

    path = tmp_path / "deeper" / "secret"
    drawn = secret_from("", path)

    assert len(drawn) >= 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert secret_from("", path) == drawn
    assert secret_from("configured", path) == "configured"
