"""Tables in memory that do what a database does with row changes and with groups of them."""

from collections.abc import Mapping
from typing import Any

from infrastructure.read_models.row_sql import RowGroup
from projections.row_changes import (
    Accumulate,
    Delete,
    Increment,
    Insert,
    RowChange,
    Update,
    Upsert,
)

Row = dict[str, Any]


class Conflict(Exception):
    """The database refuses a second row of one key."""


class Tables:
    """Rows by their keys, as a database has them."""

    def __init__(self, primary_keys: Mapping[str, tuple[str, ...]]) -> None:
        self._primary_keys = primary_keys
        self.rows: dict[str, dict[Any, Row]] = {name: {} for name in primary_keys}

    def copy(self) -> "Tables":
        other = Tables(self._primary_keys)
        other.rows = {
            name: {key: dict(row) for key, row in rows.items()} for name, rows in self.rows.items()
        }
        return other

    def make(self, change: RowChange) -> None:
        rows = self.rows[change.table]
        match change:
            case Insert():
                self._insert(change.table, dict(change.values))
            case Upsert():
                key = self._key(change.table, change.key)
                rows.setdefault(key, dict(change.key)).update(change.values)
            case Update():
                for row in self._where(change.table, change.where):
                    row.update(change.values)
            case Increment():
                for row in self._where(change.table, change.where):
                    _add(row, change.by)
            case Accumulate():
                key = self._key(change.table, change.key)
                _add(
                    rows.setdefault(key, dict(change.key) | dict.fromkeys(change.by, 0)), change.by
                )
            case Delete():
                for row in self._where(change.table, change.where):
                    del rows[self._key(change.table, row)]

    def run(self, group: RowGroup) -> None:
        """Does what the statement of this form does."""
        form = group.form
        for row in group.rows:
            where = {column: row[column] for column in form.keys}
            rest = {column: row[column] for column in form.values}
            kinds: dict[Any, RowChange] = {
                Insert: Insert(form.table, dict(row)),
                Upsert: Upsert(form.table, where, rest),
                Delete: Delete(form.table, where),
                Update: Update(form.table, where, rest),
                Increment: Increment(form.table, where, rest),
                Accumulate: Accumulate(form.table, where, rest),
            }
            self.make(kinds[form.kind])

    def copy_in(self, group: RowGroup) -> None:
        """Does what COPY does. Every row must have the columns of the first one, in its order."""
        for row in group.rows:
            assert tuple(row) == tuple(group.rows[0])
            self._insert(group.form.table, dict(row))

    def _insert(self, table: str, row: Row) -> None:
        key = self._key(table, row)
        if key in self.rows[table]:
            raise Conflict
        self.rows[table][key] = row

    def _key(self, table: str, values: Any) -> tuple[Any, ...]:
        return tuple(values[column] for column in self._primary_keys[table])

    def _where(self, table: str, where: Any) -> list[Row]:
        return [
            row
            for row in self.rows[table].values()
            if all(row.get(column) == value for column, value in where.items())
        ]


def _add(row: Row, by: Any) -> None:
    """As in SQL, nothing can be added to what is empty."""
    for name, amount in by.items():
        row[name] = None if row[name] is None else row[name] + amount
