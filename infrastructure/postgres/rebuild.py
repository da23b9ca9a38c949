"""Makes read models anew from the log while queries go on.

The log is replayed into shadow tables; only when they have caught up are the projection's
positions locked, the last events replayed, and the rows exchanged, in one transaction. Queries
read the old rows until it commits, and the projector waits for the lock and goes on behind it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from psycopg import AsyncConnection, sql

from infrastructure.postgres.bulk_writer import BulkWriter
from infrastructure.postgres.log_reader import ReadBounds, read_head, read_log
from infrastructure.postgres.projection_writer import (
    READ_SCHEMA,
    WRITER_SESSION,
    Statements,
    load_positions,
)
from projections.registry import PROJECTIONS, Projection

SHADOW_SCHEMA = "read_shadow"
# Any number, as long as every version of the service uses the same.
REBUILD_LOCK = 7_203_554_004
_POSITION_MAX = 2**63 - 1
# What is folded in memory and written at once.
BOUNDS = ReadBounds(events_max=10_000, bytes_max=16 * 2**20)


class UnknownProjection(Exception):
    """The text says which projections there are."""


class RebuildInProgress(Exception):
    """Another process rebuilds read models; only one can at a time."""


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
    bounds: ReadBounds | None = None,
    connect_timeout_s: int = 5,
) -> int:
    """Returns the position that the rebuilt rows hold. on_progress: the fraction that is done,
    from 0 to 1; bounds: of one batch.

    Raises UnknownProjection, RebuildInProgress, MapperDeserialisationError, psycopg.Error; then
    the rows are as they were.
    """
    projections = chosen_projections(names)
    async with await AsyncConnection.connect(
        service_url,
        autocommit=True,
        application_name="chatledger rebuild",
        connect_timeout=connect_timeout_s,
    ) as connection:
        await lock_shadow(connection)
        replay = await Replay.start(connection, projections, bounds or BOUNDS)
        on_progress(0.0)
        while replay.position < (head := await read_head(connection)):
            while await replay.step(until=head):
                on_progress(min(replay.position / head, 0.99))
        await _exchange(connection, projections, replay)
        await empty_shadow(connection, projections)
        on_progress(1.0)
        return replay.position


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
        self._writer = BulkWriter(connection, statements)
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
        await self._writer.write(events, self.after)
        self.position = events[-1].position
        return True


async def _exchange(
    connection: AsyncConnection[Any], projections: Sequence[Projection], replay: Replay
) -> None:
    names = [projection.name for projection in projections]
    await load_positions(connection, names)
    async with connection.transaction():
        cursor = await connection.execute(
            "SELECT position FROM read.positions WHERE projection = ANY(%s)"
            " ORDER BY projection FOR UPDATE",
            (names,),
        )
        stored = max(position for (position,) in await cursor.fetchall())
        while await replay.step(until=stored):
            pass
        for table in _tables(projections):
            old, new = sql.Identifier(READ_SCHEMA, table), sql.Identifier(SHADOW_SCHEMA, table)
            await connection.execute(sql.SQL("DELETE FROM {}").format(old))
            await connection.execute(sql.SQL("INSERT INTO {} SELECT * FROM {}").format(old, new))
        await connection.execute(
            "UPDATE read.positions SET position = %s, updated_at = clock_timestamp()"
            " WHERE projection = ANY(%s)",
            (replay.position, names),
        )


async def empty_shadow(connection: AsyncConnection[Any], projections: Sequence[Projection]) -> None:
    tables = sql.SQL(", ").join(
        sql.Identifier(SHADOW_SCHEMA, table) for table in _tables(projections)
    )
    await connection.execute(sql.SQL("TRUNCATE {}").format(tables))


def _tables(projections: Sequence[Projection]) -> list[str]:
    return [table for projection in projections for table in projection.tables]
