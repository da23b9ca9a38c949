"""Makes read models anew from the log while queries go on.

The log is replayed into shadow tables; only when they have caught up are the projection's
positions locked, the last events replayed, and the tables exchanged, in one transaction. Queries
read the old rows until it commits, and the projector waits for the lock and goes on behind it.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from psycopg import AsyncConnection
from psycopg.errors import LockNotAvailable

from application.ledger.event_macs import StateMacs
from infrastructure.log.reader import read_head
from infrastructure.process.tasks import cancel_until_done
from infrastructure.read_models.rebuild.shadow_tables import Replay, ReplayBounds, tables_of
from infrastructure.read_models.writer import load_positions
from projections.registry import PROJECTIONS, Projection

# Any number, as long as every version of the service uses the same.
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
    """All of them where no name is given. Raises UnknownProjection."""
    known = {projection.name: projection for projection in PROJECTIONS}
    for name in names:
        if name not in known:
            raise UnknownProjection(
                f"there is no projection {name!r}; choose of {', '.join(known)}"
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
        await lock_shadow(connection)
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
    # What comes after the rows are filled takes the rest.
    on_progress(0.8 * position / head)


async def _complete(connections: Sequence[AsyncConnection[Any]], tables: list[str]) -> None:
    """Each connection takes one table after the other."""
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


async def lock_shadow(connection: AsyncConnection[Any]) -> None:
    """For as long as the connection lasts. Raises RebuildInProgress."""
    cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", (REBUILD_LOCK,))
    if await cursor.fetchone() != (True,):
        raise RebuildInProgress("read models are being rebuilt already; wait until it is done")


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
            # What was filled meanwhile was taken back with the transaction.
            replay.position = reached
            await asyncio.sleep(_EXCHANGE_PAUSE_S)
    raise ReadModelsBusy(
        "long queries or another session keep the read models locked; end them and rebuild again"
    )


async def _exchange_once(
    connection: AsyncConnection[Any], projections: Sequence[Projection], replay: Replay
) -> None:
    names = [projection.name for projection in projections]
    # Whoever asks for a table that is to be exchanged waits behind us, so we do not wait long.
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
