"""Tables in memory, changed by one row change after the other: what the database must hold."""

from collections.abc import Iterable
from typing import Any

from domain.events import Event
from projections.registry import PROJECTIONS, Projection
from projections.row_changes import (
    Accumulate,
    Delete,
    Increment,
    Insert,
    Row,
    RowChange,
    Update,
    Upsert,
)

NaiveRow = dict[str, Any]


class NaiveTables:
    def __init__(self) -> None:
        self.tables: dict[str, list[NaiveRow]] = {
            table: [] for projection in PROJECTIONS for table in projection.tables
        }

    def fold(
        self, events: Iterable[tuple[int, Event]], projections: Iterable[Projection] = PROJECTIONS
    ) -> "NaiveTables":
        projections = tuple(projections)
        for position, event in events:
            for projection in projections:
                handler = projection.handlers.get(type(event))
                for change in () if handler is None else handler(event, position):
                    assert change.table in projection.tables
                    self.apply(change)
        return self

    def apply(self, change: RowChange) -> None:
        rows = self.tables[change.table]
        match change:
            case Insert():
                rows.append(dict(change.values))
            case Upsert():
                found = self._where(change.table, change.key)
                if not found:
                    rows.append({**change.key, **change.values})
                for row in found:
                    row.update(change.values)
            case Update():
                for row in self._where(change.table, change.where):
                    row.update(change.values)
            case Increment():
                for row in self._where(change.table, change.where):
                    _add(row, change.by)
            case Accumulate():
                found = self._where(change.table, change.key)
                if not found:
                    found = [{**change.key, **dict.fromkeys(change.by, 0)}]
                    rows += found
                for row in found:
                    _add(row, change.by)
            case Delete():
                gone = self._where(change.table, change.where)
                self.tables[change.table] = [row for row in rows if row not in gone]

    def _where(self, table: str, where: Row) -> list[NaiveRow]:
        return [
            row
            for row in self.tables[table]
            if all(row[column] == value for column, value in where.items())
        ]


def _add(row: NaiveRow, by: Any) -> None:
    for column, amount in by.items():
        row[column] += amount
