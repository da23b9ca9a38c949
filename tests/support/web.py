"""A web server like the service's in this event loop, and clients that misbehave."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.types import ASGIApp

from interfaces.web.connections import ConnectionLimits, Connections
from interfaces.web.server import WebServerConfig

PATIENCE_S = 20.0


@dataclass(frozen=True)
class Web:
    port: int
    connections: Connections
    clients: "list[RawClient]" = field(default_factory=list)

    async def connect(self, address: str = "127.0.0.1") -> "RawClient":
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, local_addr=(address, 0), limit=2**16
        )
        self.clients.append(RawClient(reader, writer))
        return self.clients[-1]

    async def get(self, path: str = "/", address: str = "127.0.0.1", *headers: str) -> bytes:
        """The whole answer, on a connection of its own."""
        client = await self.connect(address)
        lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers, "", ""]
        return await client.says("\r\n".join(lines).encode())

    async def has_connections(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.connections) != count:  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.01)


@dataclass(frozen=True)
class RawClient:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def says(self, data: bytes) -> bytes:
        self.send(data)
        return await self.rest()

    async def rest(self) -> bytes:
        """Everything that comes until the server closes."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self.reader.read(-1)
            except ConnectionResetError:
                return b"reset"
            finally:
                self.writer.close()

    async def drip(self, data: bytes, interval_s: float) -> bytes:
        """Sends byte after byte until the server closes. Returns what the server said."""
        ended = asyncio.create_task(self.rest())
        for number in range(len(data)):
            if ended.done():
                break
            self.send(data[number : number + 1])
            await asyncio.sleep(interval_s)
        return await ended


@asynccontextmanager
async def running_server(server: uvicorn.Server, connections: Connections) -> AsyncIterator[Web]:
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(PATIENCE_S):
        while not server.started:
            assert not task.done(), "the server ended at its start"
            await asyncio.sleep(0.01)
    web = Web(server.servers[0].sockets[0].getsockname()[1], connections)
    try:
        yield web
    finally:
        for client in web.clients:
            client.writer.close()
        server.should_exit = True
        await task


@asynccontextmanager
async def serving_app(app: ASGIApp, limits: ConnectionLimits) -> AsyncIterator[Web]:
    config = WebServerConfig(app, host="127.0.0.1", port=0, limits=limits, shutdown_timeout_s=1)
    config.lifespan = "off"
    async with running_server(uvicorn.Server(config), config.connections) as web:
        yield web
