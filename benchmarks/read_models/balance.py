"""GET /billing/balance: alone, and from many clients while commands are running."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.client import CREDITS_ADDED, Client, FastConnection, request_bytes
from benchmarks.figures import Figure, of_repeats, percentile
from benchmarks.running import Service

_CLIENTS = 32
_COMMANDS_PER_S = 20
_ALONE = 500


@dataclass(frozen=True, kw_only=True)
class _Load:
    """latencies_ms: of balance queries. commands: purchases made meanwhile."""

    latencies_ms: list[float]
    commands: int
    seconds: float

    @property
    def per_s(self) -> float:
        return len(self.latencies_ms) / self.seconds


def balance_queries(service: Service, *, users: int, seconds: float) -> list[Figure]:
    """users: enough that nobody reaches the limit of requests per minute."""
    client = Client(service.port)
    tokens = [
        client.sign_up(f"reader{n}", credits_added=CREDITS_ADDED if n < 4 else 0)
        for n in range(users)
    ]
    client.close()
    alone_ms = asyncio.run(_sequential(service.port, tokens))
    loaded = asyncio.run(_load(service.port, tokens, seconds, messages=False))
    generating = asyncio.run(_load(service.port, tokens, seconds, messages=True))
    commands = f"{_CLIENTS} clients, {_COMMANDS_PER_S} purchases/s beside them"
    return [
        of_repeats("Balance query, one client", "ms", alone_ms, f"p99 {_p99(alone_ms)}"),
        *_figures("under load", loaded, commands),
        *_figures("while generating", generating, f"{commands} and one answer after the other"),
    ]


def _figures(name: str, load: _Load, conditions: str) -> list[Figure]:
    told = (
        f"{conditions}, {load.seconds:.0f} s on loopback: {load.per_s:,.0f} queries/s,"
        f" {load.commands} commands"
    )
    return [
        Figure(
            what=f"Balance query {name}, {which}",
            unit="ms",
            value=percentile(load.latencies_ms, percent),
            conditions=told if percent == 50 else "the same",
        )
        for which, percent in (("p50", 50.0), ("p99", 99.0))
    ]


def _p99(samples: Sequence[float]) -> str:
    return f"{percentile(samples, 99):.1f} ms"


async def _sequential(port: int, tokens: Sequence[str]) -> list[float]:
    connection = await FastConnection.open(port)
    queries = _balance_requests(tokens)
    latencies_ms: list[float] = []
    for number in range(_ALONE):
        latencies_ms.append(await _timed(connection, queries[number % len(queries)]))
    await connection.close()
    return latencies_ms


async def _load(port: int, tokens: Sequence[str], seconds: float, *, messages: bool) -> _Load:
    queries = _balance_requests(tokens)
    latencies_ms: list[float] = []
    until = time.perf_counter() + seconds

    async def reader(first: int) -> None:
        connection = await FastConnection.open(port)
        number = first
        while time.perf_counter() < until:
            number += _CLIENTS
            latencies_ms.append(await _timed(connection, queries[number % len(queries)]))
        await connection.close()

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        commands = group.create_task(_purchases(port, tokens, until))
        if messages:
            group.create_task(_messages(port, tokens[0], until))
        for first in range(_CLIENTS):
            group.create_task(reader(first))
    elapsed_s = time.perf_counter() - began
    return _Load(latencies_ms=latencies_ms, commands=commands.result(), seconds=elapsed_s)


async def _purchases(port: int, tokens: Sequence[str], until: float) -> int:
    connection = await FastConnection.open(port)
    requests = [request_bytes("POST", "/billing/add", t, {"amount": 1}) for t in tokens]
    done = 0
    began = time.perf_counter()
    while time.perf_counter() < until:
        await _expect(connection, requests[done % len(requests)], 201)
        done += 1
        await asyncio.sleep(max(0.0, began + done / _COMMANDS_PER_S - time.perf_counter()))
    await connection.close()
    return done


async def _messages(port: int, token: str, until: float) -> None:
    connection = await FastConnection.open(port)
    body = {"message": "Tell me about the sea.", "max_tokens": 64, "temperature": 0}
    request = request_bytes("POST", "/chat/message", token, body)
    while time.perf_counter() < until:
        await _expect(connection, request, 200)
    await connection.close()


def _balance_requests(tokens: Sequence[str]) -> list[bytes]:
    return [request_bytes("GET", "/billing/balance", token) for token in tokens]


async def _timed(connection: FastConnection, request: bytes) -> float:
    began = time.perf_counter()
    await _expect(connection, request, 200)
    return (time.perf_counter() - began) * 1000


async def _expect(connection: FastConnection, request: bytes, status: int) -> None:
    found = await connection.call(request)
    if found != status:
        raise RuntimeError(f"{request.split(b' HTTP')[0].decode()} answered {found}")
