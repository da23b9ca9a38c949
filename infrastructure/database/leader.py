"""One of all processes that share a database works; the others stand by to take over."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from psycopg import AsyncConnection

from infrastructure.process.condition import Condition, State, keep_running
from infrastructure.relay.settings import ProjectionSettings

# Many forms of statements, each with a few types of arrays.
_PREPARED_MAX = 400


class Leader:
    """lock: an advisory lock, of any number as long as every version of the service uses the same.
    The part of the service that this is says what it does by `condition`."""

    def __init__(
        self,
        service_url: str,
        *,
        name: str,
        lock: int,
        settings: ProjectionSettings,
        condition: Condition,
    ) -> None:
        self._service_url = service_url
        self._name = name
        self._lock = lock
        self._settings = settings
        self._condition = condition

    async def run(self, work: Callable[[AsyncConnection[Any]], Awaitable[None]]) -> None:
        """Until cancelled: `work` while this process leads, anew whenever it fails or ends.
        What it is given is the connection that holds the lock, in autocommit."""

        async def session() -> None:
            async with await self._connect() as database:
                await self._lead(database)
                await work(database)

        await keep_running(
            session,
            self._condition,
            backoff_s_min=self._settings.backoff_s_min,
            backoff_s_max=self._settings.backoff_s_max,
        )

    async def _connect(self) -> AsyncConnection[Any]:
        """Raises psycopg.OperationalError."""
        connection = await AsyncConnection.connect(
            self._service_url,
            autocommit=True,
            application_name=self._name,
            connect_timeout=self._settings.connect_timeout_s,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            prepare_threshold=1,
        )
        connection.prepared_max = _PREPARED_MAX
        return connection

    async def _lead(self, connection: AsyncConnection[Any]) -> None:
        """Returns as the only one with the lock, which lasts as long as the connection."""
        # A leader that vanished from the network is noticed, so that another can take over.
        await connection.execute("SET tcp_keepalives_idle = 10")
        await connection.execute("SET tcp_keepalives_interval = 5")
        await connection.execute("SET tcp_keepalives_count = 3")
        while True:
            cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", (self._lock,))
            if await cursor.fetchone() == (True,):
                return
            self._condition.enter(State.STANDBY)
            await asyncio.sleep(self._settings.leader_retry_s)
