"""PostgreSQL holds the rows of a model in memory, whether changes are written one by one, as the
live projector writes a batch, or as a rebuild copies a stretch."""

import random
from collections.abc import Sequence
from datetime import date
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection, sql
from psycopg.rows import dict_row

from infrastructure.log.reader import ReadBounds
from infrastructure.read_models.folded_rows import fold_changes
from infrastructure.read_models.rebuild.copy import BulkWriter, NotWritten
from infrastructure.read_models.rebuild.stretch import Folded, Folder, FoldPlan
from infrastructure.read_models.row_sql import RowSql, Values
from infrastructure.read_models.statement_pipeline import StatementPipeline
from projections.row_changes import Accumulate, Delete, Increment, Insert, RowChange, Update, Upsert
from tests.infrastructure.read_models.naive_rows import Row, Tables
from tests.support.keys import EVENT_MACS
from tests.support.servers import DatabaseUrls

PRIMARY_KEYS = {"things": ("id",), "counts": ("day", "name"), "lines": ("id",)}
SCHEMAS = ("one_by_one", "batched", "copied")
TEXTS = (
    "",
    "null",
    "ada",
    "a\x00b",
    "\x00",
    "\\u0000",
    "\\\x00\\",
    'it\'s "quoted", {and: [more]}',
    "],\n[",
    "\\.\r\n\t",
    "\u2028\x01\x7f",
    "Gr\u00fc\u00dfe, \u4e16\u754c \U0001f600",
    "long " * 20_000,
)
NUMBERS = (-1, 0, 1, 2, 2**53 + 1, -(2**53) - 3)
DAYS = (date(2026, 3, 1), date(2026, 3, 2))


class RandomChanges:
    """Of few rows, so that a stretch changes each of them several times and in every order."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._ids = ("it's", "a\x00b", "\\", *self._random.sample(TEXTS[:-1], 2))
        self._lines = 0

    def stretch(self, count: int) -> list[RowChange]:
        kinds = (self._thing, self._thing, self._thing, self._count, self._line)
        return [self._random.choice(kinds)() for _ in range(count)]

    def _thing(self) -> RowChange:
        pick = self._random.choice
        key: Values = {"id": pick(self._ids)}
        owner: Values = {"owner": pick(TEXTS[2:5])}
        size: Values = {"size": pick((None, *NUMBERS))}
        text: Values = {"text": pick((None, *TEXTS))}
        price: Values = {"price": pick((None, {"kind": pick(TEXTS[:-1]), "amount": pick(NUMBERS)}))}
        return pick(
            (
                Upsert("things", key, owner | size | text | price),
                Update("things", key, price | size),
                Update("things", key, owner | text),
                Increment("things", key, {"size": pick(NUMBERS)}),
                Delete("things", key),
                Delete("things", owner),
            )
        )

    def _count(self) -> RowChange:
        pick = self._random.choice
        key: Values = {"day": pick(DAYS), "name": pick(self._ids)}
        both = {"sum": pick(NUMBERS), "most": pick(NUMBERS)}
        return pick(
            (
                Accumulate("counts", key, both),
                Accumulate("counts", key, both),
                Update("counts", key, {"sum": None}),
                Delete("counts", key),
            )
        )

    def _line(self) -> RowChange:
        if self._random.random() < 0.1:
            return Delete("lines", {"id": self._random.randrange(self._lines + 1)})
        self._lines += 1
        text = self._random.choice((None, *TEXTS))
        return Insert("lines", {"id": self._lines, "size": 2**62 + self._lines, "text": text})


@pytest.fixture
def schemas(database: DatabaseUrls) -> str:
    """The same tables in three schemas. Returns the URL of a role that may write to them."""
    with psycopg.connect(database.owner) as connection:
        for schema in SCHEMAS:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
            connection.execute(
                sql.SQL(
                    "CREATE TABLE {0}.things (id text PRIMARY KEY, owner text, size bigint,"
                    " text text, price jsonb);"
                    "CREATE TABLE {0}.counts (day date, name text, sum bigint, most bigint,"
                    " PRIMARY KEY (day, name));"
                    "CREATE TABLE {0}.lines (id bigint PRIMARY KEY, size bigint, text text)"
                ).format(sql.Identifier(schema))
            )
    return database.owner


class Writer:
    """Writes to one of the schemas, as its name says."""

    def __init__(self, connection: AsyncConnection[Any], url: str, row_sql: RowSql) -> None:
        self._sql = row_sql
        self._pipeline = StatementPipeline(connection)
        self._bulk = BulkWriter(connection)
        self._folder = Folder(
            FoldPlan(
                service_url=url,
                sql=row_sql,
                positions={},
                bounds=ReadBounds(),
                connect_timeout_s=5,
                macs=EVENT_MACS,
            )
        )
        self.copied = 0

    async def write(self, changes: Sequence[RowChange]) -> None:
        if self._sql.schema == "one_by_one":
            for change in changes:
                await self._write([change])
        elif self._sql.schema == "batched":
            await self._write(changes)
        else:
            await self._copy(changes)

    async def _write(self, changes: Sequence[RowChange]) -> None:
        await self._pipeline.run(
            [
                self._sql.statement(group)
                for fold in fold_changes(changes, self._sql.primary_keys)
                for group in (*fold.changed_rows(), *fold.new_rows())
            ]
        )

    async def _copy(self, changes: Sequence[RowChange]) -> None:
        """As a replay does: what cannot be copied is made anew and written like a batch."""
        parts = [self._folder.part(fold) for fold in self._folder.folds(_anew(changes))]
        try:
            await self._bulk.write(Folded(after=0, until=0, parts=parts))
            self.copied += 1
        except NotWritten:
            await self._write(changes)

    def close(self) -> None:
        self._folder.close()


def _anew(changes: Sequence[RowChange]) -> list[RowChange]:
    """With values that the taker may keep."""
    return [
        Insert(each.table, dict(each.values)) if isinstance(each, Insert) else each
        for each in changes
    ]


def rows_in(url: str, schema: str) -> dict[str, list[Row]]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return {
            table: connection.execute(
                sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, table))
            ).fetchall()
            for table in PRIMARY_KEYS
        }


def comparable(rows: Any) -> Any:
    """In any order, without empty columns, and with what is stored in the place of a NUL."""
    if isinstance(rows, str):
        return rows.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    if isinstance(rows, dict):
        return {name: comparable(value) for name, value in rows.items() if value is not None}
    return sorted(map(comparable, rows), key=repr) if isinstance(rows, list) else rows


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
async def test_rows_are_those_of_the_model_however_they_are_written(
    seed: int, schemas: str
) -> None:
    random_changes, model = RandomChanges(seed), Tables(PRIMARY_KEYS)
    async with await AsyncConnection.connect(schemas, autocommit=True) as connection:
        writers = [
            Writer(connection, schemas, await RowSql.load(connection, schema)) for schema in SCHEMAS
        ]
        for size in (1, 2, 3, 5, 8, 13, 30, 60, 4, 4, 4, 4):
            changes = random_changes.stretch(size)
            for change in _anew(changes):
                model.make(change)
            for writer in writers:
                await writer.write(_anew(changes))
            expected = {name: list(rows.values()) for name, rows in model.rows.items()}
            for schema in SCHEMAS:
                assert comparable(rows_in(schemas, schema)) == comparable(expected), (schema, size)
        assert writers[-1].copied
        for writer in writers:
            writer.close()
