"""Of all processes that share a database, one does a piece of work; the others stand by to take it
over."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from infrastructure.process.condition import Condition, State, keep_running

# The projector has many forms of statements, each for a few types of arrays.
_PREPARED_MAX = 400


@dataclass(frozen=True, kw_only=True)
class LeaderTimes:
    """retry_s: how often a process in reserve tries to take over. backoff_s_*: between attempts to
    reach a database that is away."""

    connect_timeout_s: int
    retry_s: float
    backoff_s_min: float
    backoff_s_max: float


class Leader:
    """lock: the number of an advisory lock; any will do, if every version of the service uses the
    same. condition: where the part of the service that works here says what it does."""

    def __init__(
        self,
        service_url: str,
        *,
        name: str,
        lock: int,
        times: LeaderTimes,
        condition: Condition,
    ) -> None:
        self._service_url = service_url
        self._name = name
        self._lock = lock
        self._times = times
        self._condition = condition

    async def run(self, work: Callable[[AsyncConnection[Any]], Awaitable[None]]) -> None:
        """Runs until cancelled. While this process leads, `work` runs, and again whenever it fails
        or ends. It is given the connection that holds the lock, in autocommit."""

        async def session() -> None:
            async with await self._connect() as database:
                await self._lead(database)
                await work(database)

        await keep_running(
            session,
            self._condition,
            backoff_s_min=self._times.backoff_s_min,
            backoff_s_max=self._times.backoff_s_max,
        )

    async def _connect(self) -> AsyncConnection[Any]:
        """Raises psycopg.OperationalError."""
        connection = await AsyncConnection.connect(
            self._service_url,
            autocommit=True,
            application_name=self._name,
            connect_timeout=self._times.connect_timeout_s,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            prepare_threshold=1,
        )
        connection.prepared_max = _PREPARED_MAX
        return connection

    async def _lead(self, connection: AsyncConnection[Any]) -> None:
        """Returns when this process alone has the lock, which lasts as long as the connection."""
        # So that the server notices a leader that vanished from the network, and frees its lock.
        await connection.execute("SET tcp_keepalives_idle = 10")
        await connection.execute("SET tcp_keepalives_interval = 5")
        await connection.execute("SET tcp_keepalives_count = 3")
        while True:
            cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", (self._lock,))
            if await cursor.fetchone() == (True,):
                return
            self._condition.enter(State.STANDBY)
            await asyncio.sleep(self._times.retry_s)
