"""Makes read models anew from the log while queries go on.

The log is replayed into shadow tables; only when they have caught up are the projection's
positions locked, the last events replayed, and the tables exchanged, in one transaction. Queries
read the old rows until it commits, and the projector waits for the lock and goes on behind it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from psycopg import AsyncConnection
from psycopg.errors import LockNotAvailable

from infrastructure.postgres.bulk_writer import BulkFolder, BulkWriter
from infrastructure.postgres.log_reader import ReadBounds, read_head, read_log
from infrastructure.postgres.projection_writer import (
    WRITER_SESSION,
    Statements,
    load_positions,
)
from infrastructure.tasks import cancel_until_done
from projections.registry import PROJECTIONS, Projection

SHADOW_SCHEMA = "read_shadow"
# Any number, as long as every version of the service uses the same.
REBUILD_LOCK = 7_203_554_004
_POSITION_MAX = 2**63 - 1
_LOCK_WAIT_MS = 1000
EXCHANGE_TRIES = 30
_EXCHANGE_PAUSE_S = 1.0
# What is folded in memory and written at once.
BOUNDS = ReadBounds(events_max=10_000, bytes_max=16 * 2**20)


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
    bounds: ReadBounds = BOUNDS,
    exchange_tries: int = EXCHANGE_TRIES,
    connect_timeout_s: int = 5,
) -> int:
    """Returns the position that the rebuilt rows hold. on_progress: the fraction that is done,
    from 0 to 1; bounds: of one chunk. exchange_tries: how often the tables' locks are asked for,
    a second each.

    Raises UnknownProjection, RebuildInProgress, ReadModelsBusy, MapperDeserialisationError,
    psycopg.Error; then the rows are as they were.
    """
    projections = chosen_projections(names)
    async with (
        await _connect(service_url, connect_timeout_s) as connection,
        await _connect(service_url, connect_timeout_s) as reader,
    ):
        await lock_shadow(connection)
        replay = await Replay.start(connection, projections, bounds)
        on_progress(0.0)
        while replay.position < (head := await read_head(connection)):
            await replay.fill(reader, head, partial(_tell, on_progress, head))
        await connection.execute("SELECT read_shadow.complete(%s)", (_tables(projections),))
        on_progress(0.95)
        await _exchange(connection, projections, replay, exchange_tries)
        on_progress(1.0)
        return replay.position


def _tell(on_progress: Callable[[float], None], head: int, position: int) -> None:
    # What comes after the rows are filled takes the rest.
    on_progress(0.9 * position / head)


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


class Replay:
    """Fills the shadow tables from the log. position: of the last event that is in them.
    after: the projections that are filled, each with the position that its rows hold."""

    def __init__(
        self,
        connection: AsyncConnection[Any],
        statements: Statements,
        after: Mapping[Projection, int],
        bounds: ReadBounds,
    ) -> None:
        self._connection = connection
        self._folder = BulkFolder(statements)
        self._writer = BulkWriter(connection)
        self.after = after
        self._topics = sorted(
            {event_type.TOPIC for projection in after for event_type in projection.takes}
        )
        self._bounds = bounds
        self.position = 0

    @classmethod
    async def start(
        cls,
        connection: AsyncConnection[Any],
        projections: Sequence[Projection],
        bounds: ReadBounds,
    ) -> "Replay":
        for setting in WRITER_SESSION:
            await connection.execute(setting)
        await empty_shadow(connection, projections)
        statements = await Statements.load(connection, SHADOW_SCHEMA)
        return cls(connection, statements, dict.fromkeys(projections, 0), bounds)

    async def step(self, until: int = _POSITION_MAX) -> bool:
        """One batch; False where there was nothing up to position `until`."""
        events = await read_log(
            self._connection,
            after=self.position,
            until=until,
            bounds=self._bounds,
            topics=self._topics,
        )
        if not events:
            if until < _POSITION_MAX:
                self.position = max(self.position, until)
            return False
        await self._writer.write(self._folder.fold(events, self.after))
        self.position = events[-1].position
        return True

    async def fill(
        self, reader: AsyncConnection[Any], until: int, on_position: Callable[[int], None]
    ) -> None:
        """Everything up to position `until`. One chunk is folded while the one before it is
        written and the next one is read. reader: a connection of its own."""
        read = partial(read_log, reader, until=until, bounds=self._bounds, topics=self._topics)
        writing: asyncio.Task[None] | None = None
        reading = asyncio.create_task(read(after=self.position))
        try:
            while events := await reading:
                reading = asyncio.create_task(read(after=events[-1].position))
                folded = await asyncio.to_thread(self._folder.fold, events, self.after)
                if writing is not None:
                    await writing
                writing = asyncio.create_task(self._writer.write(folded))
                on_position(events[-1].position)
            if writing is not None:
                await writing
        finally:
            await cancel_until_done([task for task in (reading, writing) if task is not None])
        self.position = until


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
    while await replay.step(until=stored):
        pass
    await connection.execute("SELECT read_shadow.exchange(%s)", (_tables(projections),))
    await connection.execute(
        "UPDATE read.positions SET position = %s, updated_at = clock_timestamp()"
        " WHERE projection = ANY(%s)",
        (max(replay.position, stored), names),
    )


async def empty_shadow(connection: AsyncConnection[Any], projections: Sequence[Projection]) -> None:
    await connection.execute("SELECT read_shadow.begin(%s)", (_tables(projections),))


def _tables(projections: Sequence[Projection]) -> list[str]:
    return [table for projection in projections for table in projection.tables]
