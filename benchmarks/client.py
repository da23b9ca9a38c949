"""Clients that take little processor time from the service they measure: plain HTTP/1.1 over
sockets."""

import asyncio
import http.client
import json
import time
from dataclasses import dataclass
from typing import Any

PASSWORD = "Benchmark-123!"
CREDITS_ADDED = 5000


@dataclass(frozen=True, kw_only=True)
class Reply:
    """elapsed_ms: from the first byte sent to the last one received."""

    status: int
    headers: dict[str, str]
    body: Any
    elapsed_ms: float


class Client:
    """One user at a time, one request after the other, over one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        self.token = ""

    def call(self, method: str, path: str, body: object = None, *, status: int = 200) -> Reply:
        """Raises RuntimeError for any status but the expected one."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        began = time.perf_counter()
        self._connection.request(method, path, data, headers)
        response = self._connection.getresponse()
        text = response.read()
        elapsed_ms = (time.perf_counter() - began) * 1000
        if response.status != status:
            raise RuntimeError(f"{method} {path} answered {response.status}: {text[:500]!r}")
        names = {name.lower(): value for name, value in response.getheaders()}
        parsed = json.loads(text) if text else None
        return Reply(status=response.status, headers=names, body=parsed, elapsed_ms=elapsed_ms)

    def sign_up(self, username: str, *, credits_added: int = 0) -> str:
        """The access token of a new user."""
        self.token = ""
        email = f"{username}@example.com"
        new = {"username": username, "email": email, "password": PASSWORD}
        self.call("POST", "/auth/register", new, status=201)
        signed_in = self.call("POST", "/auth/login", {"username": username, "password": PASSWORD})
        self.token = str(signed_in.body["access_token"])
        if credits_added:
            self.call("POST", "/billing/add", {"amount": credits_added}, status=201)
        return self.token

    def close(self) -> None:
        self._connection.close()


class FastConnection:
    """One keep-alive connection for many small requests, whose bytes are prepared beforehand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> "FastConnection":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def call(self, request: bytes) -> int:
        """The status; the body is read and dropped."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        lengths = [
            line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
        ]
        await self._reader.readexactly(int(lengths[0]))
        return int(head[9:12])

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


def request_bytes(method: str, path: str, token: str, body: object = None) -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data
