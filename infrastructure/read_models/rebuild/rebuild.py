"""Makes read models anew from the log while queries go on.

The log is replayed into shadow tables. When these have caught up, one transaction locks the
projections' positions, replays the last events and exchanges the tables. Queries read the old rows
until it commits; the projector waits for the lock, and goes on from the new positions.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.errors import LockNotAvailable

from application.ledger.event_macs import StateMacs
from infrastructure.log.reader import read_head
from infrastructure.process.tasks import cancel_until_done
from infrastructure.read_models.rebuild.shadow_tables import Replay, ReplayBounds, tables_of
from infrastructure.read_models.writer import load_positions
from projections.registry import PROJECTIONS, Projection

# The number itself means nothing, but every version of the service must use the same one.
REBUILD_LOCK = 7_203_554_004
_LOCK_WAIT_MS = 1000
EXCHANGE_TRIES = 30
_EXCHANGE_PAUSE_S = 1.0


class UnknownProjection(Exception):
    """The text says which projections there are."""


class RebuildInProgress(Exception):
    """Another process rebuilds read models; only one can at a time."""


class ReadModelsBusy(Exception):
    """The text says what to do."""


def chosen_projections(names: Sequence[str]) -> tuple[Projection, ...]:
    """Those with these names, or all where no name is given. Raises UnknownProjection."""
    known = {projection.name: projection for projection in PROJECTIONS}
    for name in names:
        if name not in known:
            raise UnknownProjection(
                f"there is no projection {name!r}; choose one of {', '.join(known)}"
            )
    return tuple(known[name] for name in known if name in names or not names)


async def rebuild(
    names: Sequence[str],
    service_url: str,
    on_progress: Callable[[float], None],
    *,
    macs: StateMacs,
    bounds: ReplayBounds | None = None,
    exchange_tries: int = EXCHANGE_TRIES,
) -> int:
    """Returns the position that the rebuilt rows hold. on_progress: the fraction that is done,
    from 0 to 1. exchange_tries: how often the tables' locks are asked for, a second each.

    Raises UnknownProjection, RebuildInProgress, ReadModelsBusy, MapperDeserialisationError,
    psycopg.Error; then the rows are as they were.
    """
    projections = chosen_projections(names)
    bounds = bounds or ReplayBounds()
    async with await _connect(service_url, bounds.connect_timeout_s) as connection:
        async with shadow_locked(connection):
            replay = await Replay.start(connection, service_url, projections, bounds, macs)
            on_progress(0.0)
            with bounds.pool(await read_head(connection)) as pool:
                while replay.position < (head := await read_head(connection)):
                    await replay.fill(pool, head, partial(_tell, on_progress, head))
            async with await _connect(service_url, bounds.connect_timeout_s) as other:
                await _complete([connection, other], tables_of(projections))
            on_progress(0.95)
            await _exchange(connection, projections, replay, exchange_tries)
        on_progress(1.0)
        return replay.position


def _tell(on_progress: Callable[[float], None], head: int, position: int) -> None:
    # Indexes and the exchange take the rest.
    on_progress(0.8 * position / head)


async def _complete(connections: Sequence[AsyncConnection[Any]], tables: list[str]) -> None:
    """Adds indexes and statistics; each connection takes one table after the other."""
    waiting = list(tables)

    async def complete(connection: AsyncConnection[Any]) -> None:
        while waiting:
            table = waiting.pop()
            await connection.execute("SELECT read_shadow.complete(%s)", ([table],))

    tasks = [asyncio.create_task(complete(connection)) for connection in connections]
    try:
        await asyncio.gather(*tasks)
    finally:
        await cancel_until_done(tasks)


async def _connect(service_url: str, timeout_s: int) -> AsyncConnection[Any]:
    return await AsyncConnection.connect(
        service_url,
        autocommit=True,
        application_name="chatledger rebuild",
        connect_timeout=timeout_s,
    )


@asynccontextmanager
async def shadow_locked(connection: AsyncConnection[Any]) -> AsyncIterator[None]:
    """Keeps other rebuilds out meanwhile. Raises RebuildInProgress."""
    cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", (REBUILD_LOCK,))
    if await cursor.fetchone() != (True,):
        raise RebuildInProgress("read models are being rebuilt already; wait until it is done")
    try:
        yield
    finally:
        # Closing the connection would do it too, but the server takes its time for that, and
        # meanwhile the next rebuild would be refused.
        with suppress(psycopg.Error):
            await connection.execute("SELECT pg_advisory_unlock(%s)", (REBUILD_LOCK,))


async def _exchange(
    connection: AsyncConnection[Any],
    projections: Sequence[Projection],
    replay: Replay,
    tries: int,
) -> None:
    """Raises ReadModelsBusy."""
    await load_positions(connection, [projection.name for projection in projections])
    for _ in range(tries):
        reached = replay.position
        try:
            async with connection.transaction():
                await _exchange_once(connection, projections, replay)
            return
        except LockNotAvailable:
            # The rollback has taken back what was replayed within the transaction.
            replay.position = reached
            await asyncio.sleep(_EXCHANGE_PAUSE_S)
    raise ReadModelsBusy(
        "long queries or another session keep the read models locked; end them and rebuild again"
    )


async def _exchange_once(
    connection: AsyncConnection[Any], projections: Sequence[Projection], replay: Replay
) -> None:
    names = [projection.name for projection in projections]
    # Queries of a table that is to be exchanged wait behind this lock, so we do not wait long.
    await connection.execute(f"SET LOCAL lock_timeout = {_LOCK_WAIT_MS}".encode())
    cursor = await connection.execute(
        "SELECT position FROM read.positions WHERE projection = ANY(%s)"
        " ORDER BY projection FOR UPDATE",
        (names,),
    )
    stored = max(position for (position,) in await cursor.fetchall())
    await replay.follow(stored)
    await connection.execute("SELECT read_shadow.exchange(%s)", (tables_of(projections),))
    await connection.execute(
        "UPDATE read.positions SET position = %s, updated_at = clock_timestamp()"
        " WHERE projection = ANY(%s)",
        (max(replay.position, stored), names),
    )
