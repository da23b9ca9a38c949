"""The SQL of row changes: one statement for each form of change, over an array of rows in JSON."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from psycopg import AsyncConnection, sql

from infrastructure.read_models.statement_pipeline import SqlStatement
from projections.row_changes import (
    Accumulate,
    Delete,
    Increment,
    Insert,
    RowChange,
    Update,
    Upsert,
)

Values = dict[str, Any]

_encoder = msgspec.json.Encoder()
_NUL = rb"\u0000"
_INSTEAD_OF_NUL = "\N{REPLACEMENT CHARACTER}".encode()


@dataclass(frozen=True)
class Form:
    """keys: the columns that find a row; values: its others that are set, or added to."""

    kind: type[RowChange]
    table: str
    keys: tuple[str, ...]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Rows that one statement of this form writes: all of them have its columns and no others,
    in the same order."""

    form: Form
    rows: list[Values]

    def json(self) -> bytes:
        """An array of objects, one for each row."""
        return without_nul(_encoder.encode(self.rows))


def without_nul(json: bytes) -> bytes:
    """PostgreSQL's text holds no NUL. Prompts have none, but a model may write anything."""
    if _NUL not in json:
        return json
    # Two backslashes are one escape; splitting at them cuts no other escape in two.
    return b"\\\\".join(part.replace(_NUL, _INSTEAD_OF_NUL) for part in json.split(b"\\\\"))


class RowSql:
    """The statements for the tables of one schema, as PostgreSQL describes them. It can be sent to
    another process.

    primary_keys: of every table, its columns."""

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
    async def load(cls, connection: AsyncConnection[Any], schema: str) -> "RowSql":
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

    def statement(self, group: RowGroup) -> SqlStatement:
        """Its one parameter is the group's rows as JSON."""
        text = self._texts.get(group.form)
        if text is None:
            text = self._texts[group.form] = self._compose(group.form).as_bytes(None)
        return text, (group.json(),)

    def copy(self, table: str, columns: Iterable[str], options: str) -> bytes:
        """options: those of COPY, in brackets."""
        return (
            sql.SQL("COPY {} ({}) FROM STDIN " + options)
            .format(sql.Identifier(self.schema, table), _names(columns))
            .as_bytes(None)
        )

    def _compose(self, form: Form) -> sql.Composed:
        columns = form.keys + form.values
        typed = sql.SQL(", ").join(
            sql.SQL("{} " + self._types[form.table, column]).format(sql.Identifier(column))
            for column in columns
        )
        parts = {
            "table": sql.Identifier(self.schema, form.table),
            "columns": _names(columns),
            "keys": _names(form.keys),
            "rows": sql.SQL("json_to_recordset($1::json) AS v({})").format(typed),
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


def _names(columns: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _each(template: str, columns: Iterable[str], joiner: str = ", ") -> sql.Composed:
    return sql.SQL(joiner).join(
        sql.SQL(template).format(sql.Identifier(column)) for column in columns
    )
