"""tls:// means TLS, whoever answers."""

import asyncio
import json

import pytest
from nats.errors import Error

from infrastructure.relay.nats_connection import RELAY_INBOX, nats_connection
from infrastructure.relay.settings import ProjectionSettings


async def test_a_server_that_asks_for_no_tls_gets_no_credentials_where_tls_is_wanted() -> None:
    received = b""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        said = {"server_id": "x", "version": "2.15.1", "max_payload": 1048576, "proto": 1}
        writer.write(b"INFO " + json.dumps(said).encode() + b" \r\n")
        received += await reader.read(-1)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"tls://somebody:a-secret@127.0.0.1:{port}"
        settings = ProjectionSettings(stream="x", connect_timeout_s=2)
        with pytest.raises(Error, match="does not ask for TLS"):
            async with nats_connection(url, name="test", inbox=RELAY_INBOX, settings=settings):
                pass

    assert b"a-secret" not in received
    assert b"CONNECT" not in received
