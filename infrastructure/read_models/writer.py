"""Writes rows and positions of all projections in one transaction.

A projection takes only events above the position stored with its rows, so an event that comes
twice changes nothing, and a writer that was killed half-way has written nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from psycopg import AsyncConnection
from psycopg.errors import SerializationFailure

from application.ledger.event_macs import EventNotAuthentic, StateMacs
from infrastructure.log.reader import LoggedEvent
from infrastructure.read_models.folded_rows import fold_changes
from infrastructure.read_models.row_sql import RowSql
from infrastructure.read_models.statement_pipeline import SqlStatement, StatementPipeline
from projections.registry import Projection, changes_of, handlers_by_type
from projections.row_changes import RowChange

log = structlog.get_logger()

READ_SCHEMA = "read"
WRITER_SESSION = (
    # A crash loses rows and positions together or not at all, and the log still has the events:
    # waiting for the disk would only delay the read models.
    "SET synchronous_commit = off",
    # Every statement of a batch finds its rows by key. A plan made while a table was small would
    # go on reading the whole table for each batch, however large it has become.
    "SET enable_seqscan = off",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
)


class PositionsMoved(Exception):
    """Somebody else (a rebuild, another projector) wrote the positions first. Nothing of the
    batch was written; load the positions and start from them."""


_ADVANCE = b"SELECT read.advance($1::json, $2::bigint)"


def row_statements(
    sql: RowSql,
    events: Iterable[LoggedEvent],
    after: Mapping[Projection, int],
    macs: StateMacs,
) -> list[SqlStatement]:
    """What makes each projection's rows of the events above its position in `after`.

    An event that the ledger did not write is logged and left out: it must hold up only the stream
    that it was put into. Raises MapperDeserialisationError for an event that cannot be read.
    """
    handlers = handlers_by_type(after)
    changes: list[RowChange] = []
    left_out: list[EventNotAuthentic] = []
    for logged in events:
        try:
            event = logged.decode(macs)
        except EventNotAuthentic as error:
            left_out.append(error)
            continue
        changes.extend(changes_of(event, logged.position, handlers))
    if left_out:
        # One line for all of them: whoever can insert events could fill the disk with our log.
        log.error("events_not_authentic", count=len(left_out), first=str(left_out[0]))
    return [
        sql.statement(group)
        for fold in fold_changes(changes, sql.primary_keys)
        for group in (*fold.changed_rows(), *fold.new_rows())
    ]


class ProjectionWriter:
    """connection: in autocommit, and used by nobody else meanwhile.

    positions: of the last event that each projection holds, as last read or written.
    """

    def __init__(
        self,
        connection: AsyncConnection[Any],
        projections: Sequence[Projection],
        sql: RowSql,
        macs: StateMacs,
    ) -> None:
        self._connection = connection
        self._macs = macs
        self._projections = {projection.name: projection for projection in projections}
        self._sql = sql
        self._pipeline = StatementPipeline(connection)
        self.positions: dict[str, int] = {}

    @classmethod
    async def open(
        cls,
        connection: AsyncConnection[Any],
        projections: Sequence[Projection],
        macs: StateMacs,
    ) -> "ProjectionWriter":
        assert connection.autocommit
        for setting in WRITER_SESSION:
            await connection.execute(setting)
        sql = await RowSql.load(connection, READ_SCHEMA)
        writer = cls(connection, projections, sql, macs)
        await writer.load_positions()
        return writer

    @property
    def position(self) -> int:
        """Every projection holds every event up to here."""
        return min(self.positions.values())

    async def load_positions(self) -> None:
        """Reads again what is stored."""
        self.positions = await load_positions(self._connection, list(self._projections))

    async def write(self, events: Sequence[LoggedEvent]) -> None:
        """Writes all of it or nothing. events: in order and without a gap from `position` on; a
        projection skips those that it holds already.

        Raises PositionsMoved, MapperDeserialisationError, psycopg.Error.
        """
        if not events or events[-1].position <= self.position:
            return
        last = events[-1].position
        after = {
            projection: self.positions[name]
            for name, projection in self._projections.items()
            if self.positions[name] < last
        }
        expected = {projection.name: self.positions[projection.name] for projection in after}
        advance = (_ADVANCE, (msgspec.json.encode(expected), str(last).encode()))
        try:
            rows = row_statements(self._sql, events, after, self._macs)
            await self._pipeline.run([advance, *rows])
        except SerializationFailure as failure:
            raise PositionsMoved from failure
        self.positions |= dict.fromkeys(expected, last)


async def load_positions(connection: AsyncConnection[Any], names: Sequence[str]) -> dict[str, int]:
    """Positions by projection; one that is new starts at 0."""
    await connection.execute(
        "INSERT INTO read.positions (projection, position) SELECT unnest(%s::text[]), 0"
        " ON CONFLICT (projection) DO NOTHING",
        (list(names),),
    )
    cursor = await connection.execute(
        "SELECT projection, position FROM read.positions WHERE projection = ANY(%s)",
        (list(names),),
    )
    return dict(await cursor.fetchall())


async def read_projected(connection: AsyncConnection[Any], names: Sequence[str]) -> int | None:
    """The position up to which every one of these projections holds every event; None where one
    of them has not begun."""
    cursor = await connection.execute(
        "SELECT min(position) FROM read.positions WHERE projection = ANY(%s) HAVING count(*) = %s",
        (list(names), len(names)),
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])
