"""Runs queries over the read models, on a pool of connections of their own, and waits until the
read models hold what was just committed."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from application.read_models import ReadModelsUnavailable
from infrastructure.read_models.position_board import PositionBoard
from projections.registry import PROJECTIONS

# How often the database is asked for its positions while somebody waits for one: rarely where this
# process's own projector does the writing, because its board has the news first.
_POLL_S = 0.01
_POLL_LEADING_S = 0.25
_PING_TIMEOUT_S = 2.0


@dataclass(frozen=True, kw_only=True)
class ReadPoolLimits:
    """connection_timeout_s: how long a query waits for a free connection, or for a new one."""

    connections_max: int = 8
    connection_timeout_s: float = 5


class QueryPool:
    """board: where the projector of this process, if there is one, says how far the rows are."""

    def __init__(
        self, service_url: str, limits: ReadPoolLimits, board: PositionBoard | None = None
    ) -> None:
        self._board = board or PositionBoard()
        self._pool: AsyncConnectionPool[AsyncConnection[Any]] = AsyncConnectionPool(
            service_url,
            min_size=1,
            max_size=limits.connections_max,
            timeout=limits.connection_timeout_s,
            kwargs={
                "autocommit": True,
                "prepare_threshold": 0,
                "application_name": "chatledger queries",
            },
            configure=_in_utc,
            name="read-models",
            open=False,
        )

    async def start(self) -> None:
        """Returns at once; connections are made in the background, for as long as it takes."""
        await self._pool.open(wait=False)

    async def stop(self) -> None:
        await self._pool.close()

    async def rows(self, query: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        """query: a fixed text; values are only ever given beside it, in `parameters`.

        Raises ReadModelsUnavailable.
        """
        try:
            try:
                return await self._select(query, parameters)
            except PoolTimeout:
                raise  # There is no time left to wait.
            except psycopg.OperationalError:
                # The database has restarted since these connections were made: they are replaced.
                await self._pool.check()
                return await self._select(query, parameters)
        except (PoolTimeout, psycopg.OperationalError) as error:
            raise ReadModelsUnavailable(
                "the database of the read models cannot be reached"
            ) from error

    async def _select(self, query: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        async with self._pool.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(query.encode(), parameters, prepare=True)
            return await cursor.fetchall()

    async def positions(self) -> dict[str, int]:
        stored = dict(await self.rows("SELECT projection, position FROM read.positions", ()))
        return {projection.name: stored.get(projection.name, 0) for projection in PROJECTIONS}

    async def wait_for(self, position: int, timeout_s: float) -> bool:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        wait_s = _POLL_LEADING_S if self._board.leading else 0.0
        while True:
            left_s = deadline - loop.time()
            if await self._board.wait_for(position, min(wait_s, max(0.0, left_s))):
                return True
            try:
                async with asyncio.timeout(max(_POLL_S, left_s)):
                    if min((await self.positions()).values()) >= position:
                        return True
            except (ReadModelsUnavailable, TimeoutError):
                pass  # The board may still say it, or the database may come back in time.
            if loop.time() >= deadline:
                return False
            wait_s = _POLL_LEADING_S if self._board.leading else _POLL_S

    async def ping(self) -> bool:
        """Answers within two seconds: the question is about now."""
        try:
            async with asyncio.timeout(_PING_TIMEOUT_S):
                return await self.rows("SELECT 1", ()) == [(1,)]
        except (ReadModelsUnavailable, TimeoutError):
            return False


async def _in_utc(connection: AsyncConnection[Any]) -> None:
    """Times come back in UTC, whatever the server's own zone is."""
    await connection.execute("SET TimeZone = 'UTC'")
