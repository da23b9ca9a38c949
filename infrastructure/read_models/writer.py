"""Writes rows and positions of all projections in one transaction.

A projection takes only events above the position stored with its rows, so an event that comes
twice changes nothing, and a writer that was killed half-way has written nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from psycopg import AsyncConnection, sql
from psycopg.errors import SerializationFailure

from application.ledger.event_macs import EventNotAuthentic, StateMacs
from infrastructure.log.reader import LoggedEvent
from infrastructure.read_models.row_batch import Form, RowBatch
from infrastructure.read_models.statement_pipeline import Statement, StatementPipeline
from projections.registry import Projection
from projections.row_changes import Accumulate, Delete, Increment, Insert, Update, Upsert

log = structlog.get_logger()

READ_SCHEMA = "read"
WRITER_SESSION = (
    # Rows and positions are lost together or not at all, and the log has the events: waiting for
    # the disk would only make read models later.
    "SET synchronous_commit = off",
    # Every statement of a batch finds its rows by key. A plan that was kept from when a table was
    # small would read the whole table for each batch, however large it has grown.
    "SET enable_seqscan = off",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
)


class PositionsMoved(Exception):
    """Somebody else (a rebuild, another projector) wrote the positions first. Nothing of the
    batch was written; load the positions and start from them."""


class Statements:
    """The SQL of row changes in one schema, as PostgreSQL describes its tables."""

    def __init__(
        self,
        schema: str,
        types: Mapping[tuple[str, str], str],
        primary_keys: Mapping[str, tuple[str, ...]],
    ) -> None:
        self.schema = schema
        self._types = types
        self.primary_keys = primary_keys
        self._texts: dict[Form, bytes] = {}

    @classmethod
    async def load(cls, connection: AsyncConnection[Any], schema: str) -> "Statements":
        cursor = await connection.execute(
            "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod),"
            "  coalesce(array_position(i.indkey::int2[], a.attnum), -1)"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
            " LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary"
            " WHERE n.nspname = %s AND c.relkind = 'r' ORDER BY 1, 4",
            (schema,),
        )
        types: dict[tuple[str, str], str] = {}
        primary_keys: dict[str, tuple[str, ...]] = {}
        for table, column, column_type, key_place in await cursor.fetchall():
            types[table, column] = column_type
            if key_place >= 0:
                primary_keys[table] = (*primary_keys.get(table, ()), column)
        return cls(schema, types, primary_keys)

    def json_columns(self, table: str) -> list[str]:
        return [
            column
            for (of, column), column_type in self._types.items()
            if of == table and column_type in ("json", "jsonb")
        ]

    def text(self, form: Form) -> bytes:
        """Takes the group's rows as JSON."""
        known = self._texts.get(form)
        if known is None:
            known = self._texts[form] = self._compose(form).as_bytes(None)
        return known

    def _compose(self, form: Form) -> sql.Composed:
        columns = sql.SQL(", ").join(
            sql.SQL("{} " + self._types[form.table, column]).format(sql.Identifier(column))
            for column in form.columns
        )
        parts = {
            "table": sql.Identifier(self.schema, form.table),
            "columns": _names(form.columns),
            "keys": _names(form.keys),
            "rows": sql.SQL("json_to_recordset($1::json) AS v({})").format(columns),
            "same": _each("t.{0} = v.{0}", form.keys, " AND "),
            "set": _each("{0} = v.{0}", form.values),
            "set_excluded": _each("{0} = excluded.{0}", form.values),
            "add": _each("{0} = t.{0} + v.{0}", form.values),
            "add_excluded": _each("{0} = t.{0} + excluded.{0}", form.values),
        }
        return sql.SQL(_TEMPLATES[form.kind]).format(**parts)


_TEMPLATES = {
    Insert: "INSERT INTO {table} ({columns}) SELECT {columns} FROM {rows}",
    Upsert: "INSERT INTO {table} ({columns}) SELECT {columns} FROM {rows}"
    " ON CONFLICT ({keys}) DO UPDATE SET {set_excluded}",
    Update: "UPDATE {table} AS t SET {set} FROM {rows} WHERE {same}",
    Increment: "UPDATE {table} AS t SET {add} FROM {rows} WHERE {same}",
    Accumulate: "INSERT INTO {table} AS t ({columns}) SELECT {columns} FROM {rows}"
    " ON CONFLICT ({keys}) DO UPDATE SET {add_excluded}",
    Delete: "DELETE FROM {table} AS t USING {rows} WHERE {same}",
}
_ADVANCE = b"SELECT read.advance($1::json, $2::bigint)"


def row_statements(
    statements: Statements,
    events: Iterable[LoggedEvent],
    after: Mapping[Projection, int],
    macs: StateMacs,
) -> list[Statement]:
    """What makes each projection's rows of the events above its position in `after`.

    What the ledger did not write is told of and passed over: it must hold up only the stream that
    it was put into. Raises MapperDeserialisationError for an event that cannot be read.
    """
    batch = RowBatch(statements.primary_keys)
    left_out: list[EventNotAuthentic] = []
    for logged in events:
        try:
            event = logged.decode(macs)
        except EventNotAuthentic as error:
            left_out.append(error)
            continue
        for projection, position in after.items():
            if logged.position > position:
                for change in projection.project(event, logged.position):
                    batch.add(change)
    if left_out:
        # Once for all of them: whoever can insert could fill the disk with our lines.
        log.error("events_not_authentic", count=len(left_out), first=str(left_out[0]))
    return [(statements.text(group.form), (group.json(),)) for group in batch.groups]


class ProjectionWriter:
    """For one connection, which must be in autocommit and is used by nobody else meanwhile.

    positions: what each projection has, as last read or written.
    """

    def __init__(
        self,
        connection: AsyncConnection[Any],
        projections: Sequence[Projection],
        statements: Statements,
        macs: StateMacs,
    ) -> None:
        self._connection = connection
        self._macs = macs
        self._projections = {projection.name: projection for projection in projections}
        self._statements = statements
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
        statements = await Statements.load(connection, READ_SCHEMA)
        writer = cls(connection, projections, statements, macs)
        await writer.load_positions()
        return writer

    @property
    def position(self) -> int:
        """Every projection holds every event up to here."""
        return min(self.positions.values())

    async def load_positions(self) -> None:
        """Anew, as they are stored."""
        self.positions = await load_positions(self._connection, list(self._projections))

    async def write(self, events: Sequence[LoggedEvent]) -> None:
        """All of it or nothing. events: in order and without a gap from `position` on; what a
        projection has already is passed over.

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
            rows = row_statements(self._statements, events, after, self._macs)
            await self._pipeline.run([advance, *rows])
        except SerializationFailure as failure:
            raise PositionsMoved from failure
        self.positions |= dict.fromkeys(expected, last)


async def load_positions(connection: AsyncConnection[Any], names: Sequence[str]) -> dict[str, int]:
    """What is stored; a projection that is new starts at 0."""
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
    """Every one of these projections holds every event up to here; None where one of them has not
    begun."""
    cursor = await connection.execute(
        "SELECT min(position) FROM read.positions WHERE projection = ANY(%s) HAVING count(*) = %s",
        (list(names), len(names)),
    )
    row = await cursor.fetchone()
    return None if row is None else int(row[0])


def _names(columns: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _each(template: str, columns: Iterable[str], joiner: str = ", ") -> sql.Composed:
    return sql.SQL(joiner).join(
        sql.SQL(template).format(sql.Identifier(column)) for column in columns
    )
