"""Writes the rows of many events at once: folded in memory, then by COPY."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from psycopg import AsyncConnection, sql
from psycopg.errors import UniqueViolation

from domain.events import Event
from infrastructure.garbage import collection_paused
from infrastructure.postgres.log_reader import LoggedEvent
from infrastructure.postgres.pipeline import Statement, StatementPipeline
from infrastructure.postgres.projection_writer import Statements, row_statements
from infrastructure.postgres.row_fold import CannotFold, Chunk, Values
from projections.registry import Projection

_encoder = msgspec.json.Encoder()
# The escapes of JSON that CSV does not know: all but those of the quote and the backslash.
_ESCAPE = re.compile(rb'\\(?:["\\/bfnrt]|u[0-9a-f]{4})')
_OTHER_ESCAPE = re.compile(rb'\\[^"\\]')
_PLAIN = {
    rb"\/": b"/",
    rb"\b": b"\b",
    rb"\f": b"\f",
    rb"\n": b"\n",
    rb"\r": b"\r",
    rb"\t": b"\t",
    # PostgreSQL's text holds no NUL.
    rb"\u0000": "\N{REPLACEMENT CHARACTER}".encode(),
}


@dataclass(frozen=True, kw_only=True)
class Copy:
    """body: lines of CSV."""

    statement: sql.Composed
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Folded:
    """changes: of rows from before, to be made first. copies: new rows. one_by_one: makes the
    statements that do the same without relying on anything."""

    changes: list[Statement]
    copies: list[Copy]
    one_by_one: Callable[[], list[Statement]]


class BulkFolder:
    """Does the work in memory, and may do it in a thread."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def fold(self, events: Sequence[LoggedEvent], after: Mapping[Projection, int]) -> Folded:
        """What makes each projection's rows of the events above its position in `after`.

        Raises MapperDeserialisationError.
        """
        one_by_one = partial(row_statements, self._statements, events, after)
        # Nothing made here refers to itself, and walking all of it takes half of the time.
        with collection_paused():
            try:
                chunk = fold(self._statements.primary_keys, events, after)
            except CannotFold:
                return Folded(changes=one_by_one(), copies=[], one_by_one=one_by_one)
            return Folded(
                changes=[
                    (self._statements.text(group.form), (group.json(),))
                    for group in chunk.statements()
                ],
                copies=[self._copy(*part) for part in chunk.rows()],
                one_by_one=one_by_one,
            )

    def _copy(self, table: str, columns: tuple[str, ...], rows: Sequence[Values]) -> Copy:
        json_columns = [name for name in self._statements.json_columns(table) if name in columns]
        return Copy(
            statement=sql.SQL(
                "COPY {} ({}) FROM STDIN (FORMAT csv, QUOTE '\"', ESCAPE '\\', NULL 'null')"
            ).format(
                sql.Identifier(self._statements.schema, table),
                sql.SQL(", ").join(map(sql.Identifier, columns)),
            ),
            body=csv_rows(rows, json_columns),
        )


class BulkWriter:
    """For one connection in autocommit, or in a transaction, that nobody else uses meanwhile."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection
        self._pipeline = StatementPipeline(connection)

    async def write(self, folded: Folded) -> None:
        """All of it or nothing. Raises MapperDeserialisationError, psycopg.Error."""
        try:
            async with self._connection.transaction():
                await self._write(folded)
        except UniqueViolation:
            # A row that was made anew was there already.
            async with self._connection.transaction():
                await self._pipeline.run(folded.one_by_one())

    async def _write(self, folded: Folded) -> None:
        if folded.changes:
            await self._pipeline.run(folded.changes)
        async with self._connection.cursor() as cursor:
            for copy in folded.copies:
                async with cursor.copy(copy.statement) as stream:
                    await stream.write(copy.body)


def fold(
    primary_keys: Mapping[str, tuple[str, ...]],
    events: Iterable[LoggedEvent],
    after: Mapping[Projection, int],
) -> Chunk:
    """Raises CannotFold, MapperDeserialisationError."""
    chunk = Chunk(primary_keys)
    add = chunk.add
    takers: dict[type[Event], list[tuple[Any, int]]] = {
        event_type: [] for projection in after for event_type in projection.takes
    }
    for projection, position in after.items():
        for event_type in projection.takes:
            takers[event_type].append((projection.project, position))
    for logged in events:
        event = logged.decode()
        position = logged.position
        for project, held in takers.get(type(event), ()):
            if position > held:
                add(project(event, position))
    return chunk


def csv_rows(rows: Sequence[Values], json_columns: Sequence[str]) -> bytes:
    """Lines of CSV whose escape character is the backslash. JSON in arrays is nearly that: what is
    between the brackets, with the few escapes that CSV does not know put in plain."""
    for name in json_columns:
        for row in rows:
            if row[name] is not None:
                row[name] = _encoder.encode(row[name]).decode()
    # No text holds a line end as such, so this cannot be in the middle of one.
    lines = _encoder.encode_lines([list(row.values()) for row in rows]).replace(b"]\n[", b"\n")
    body = lines[1:-2] + b"\n"
    return _ESCAPE.sub(_unescaped, body) if _OTHER_ESCAPE.search(body) else body


def _unescaped(match: re.Match[bytes]) -> bytes:
    found = match.group()
    if found in (b'\\"', b"\\\\"):
        return found
    plain = _PLAIN.get(found)
    return plain if plain is not None else chr(int(found[2:], 16)).encode()
