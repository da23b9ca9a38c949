"""Row changes of many events, folded in memory into what they come to.

A rebuild's rows are mostly made and changed within a few thousand events: a message is asked and
answered, a hold is opened and closed. Folded first, such a row is written once, by COPY, or never.
What is left for rows of an earlier chunk is one change for each row.

In the order of `Chunk.statements` and then `Chunk.rows`, everything comes out as if each change had
been made by itself: a deletion only concerns rows that were there before the chunk, because what
the chunk itself had made was taken out of it at once.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from infrastructure.read_models.row_batch import Form, Group
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
# A row's key: the value of its key column, or a tuple of several.
Key = Any


class CannotFold(Exception):
    """The changes of this chunk depend on rows that only the database has; write them one form
    after the other."""


@dataclass(slots=True)
class TableFold:
    """inserted: rows that cannot have been there, as long as nothing else was asked of the table.
    made: all rows that this chunk began. changed and added: values that it sets and adds in rows
    from before. summed: what it adds to rows that may not be there. deleted: keys that are to
    go. swept: by columns, the values whose rows are to go. found: for those columns, the keys of
    made rows by their values. set_columns: of all changed rows."""

    key_columns: tuple[str, ...]
    inserted: list[Values] = field(default_factory=list)
    keyed: bool = False
    made: dict[Key, Values] = field(default_factory=dict)
    changed: dict[Key, Values] = field(default_factory=dict)
    added: dict[Key, Values] = field(default_factory=dict)
    summed: dict[Key, Values] = field(default_factory=dict)
    deleted: dict[Key, None] = field(default_factory=dict)
    swept: dict[tuple[str, ...], dict[tuple[Any, ...], None]] = field(default_factory=dict)
    found: dict[tuple[str, ...], dict[tuple[Any, ...], list[Key]]] = field(default_factory=dict)
    set_columns: set[str] = field(default_factory=set)
    key_of: Callable[[Mapping[str, Any]], Key] = field(init=False)

    def __post_init__(self) -> None:
        self.key_of = itemgetter(*self.key_columns)

    def insert(self, row: Values) -> None:
        if self.keyed:
            self.begin(row)
        else:
            # Where two have one key, the database says so.
            self.inserted.append(row)

    def begin_keys(self) -> None:
        """From here on rows are looked for."""
        self.keyed = True
        inserted, self.inserted = self.inserted, []
        for row in inserted:
            self.begin(row)

    def begin(self, row: Values) -> None:
        key = self.key_of(row)
        made = self.made
        if key in made or key in self.changed or key in self.added or key in self.summed:
            raise CannotFold
        made[key] = row
        if self.found:
            for columns, keys in self.found.items():
                keys.setdefault(tuple([row.get(column) for column in columns]), []).append(key)

    def set(self, where: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        key = self._one_row(where)
        row = self.made.get(key)
        if row is not None:
            row.update(values)
            if self.found and any(name in columns for columns in self.found for name in values):
                self.found.clear()
            return
        self._set_before(key, values)

    def _set_before(self, key: Key, values: Mapping[str, Any]) -> None:
        if key in self.summed:
            raise CannotFold
        if key in self.deleted:
            return
        known = self.changed.get(key)
        self.set_columns.update(values)
        if known is None:
            self.changed[key] = dict(values)
        else:
            known.update(values)
        added = self.added.get(key)
        if added is not None:
            for name in values:
                added.pop(name, None)

    def add(self, where: Mapping[str, Any], by: Mapping[str, int]) -> None:
        key = self._one_row(where)
        row = self.made.get(key)
        if row is not None:
            _sum(row, by)
            return
        if key in self.summed:
            raise CannotFold
        if key in self.deleted:
            return
        known = self.changed.get(key, {})
        for name, amount in by.items():
            if name in known:
                known[name] += amount
            else:
                added = self.added.setdefault(key, {})
                added[name] = added.get(name, 0) + amount

    def sum(self, where: Mapping[str, Any], by: Mapping[str, int]) -> None:
        key = self.key_of(where)
        row = self.made.get(key)
        if row is not None:
            _sum(row, by)
            return
        if key in self.changed or key in self.added or key in self.deleted:
            raise CannotFold
        summed = self.summed.get(key)
        if summed is None:
            self.summed[key] = dict(by)
        else:
            _sum(summed, by)

    def delete(self, where: Mapping[str, Any]) -> None:
        if self.summed:
            raise CannotFold
        if where.keys() != set(self.key_columns):
            self._sweep(where)
            return
        key = self.key_of(where)
        # The row that was begun here may have had one before it in the database.
        self.made.pop(key, None)
        self.changed.pop(key, None)
        self.added.pop(key, None)
        self.deleted[key] = None

    def _sweep(self, where: Mapping[str, Any]) -> None:
        columns, values = tuple(where), tuple(where.values())
        if not self.set_columns.isdisjoint(columns):
            raise CannotFold
        if columns not in self.found:
            keys: dict[tuple[Any, ...], list[Key]] = {}
            for key, row in self.made.items():
                keys.setdefault(tuple([row.get(column) for column in columns]), []).append(key)
            self.found[columns] = keys
        for key in self.found[columns].pop(values, ()):
            made = self.made.get(key)
            # A row that went since may have come again with other values.
            if made is not None and tuple([made.get(column) for column in columns]) == values:
                del self.made[key]
                # As with `delete`, there may be a row from before with other values.
                self.deleted[key] = None
        self.swept.setdefault(columns, {})[values] = None

    def _one_row(self, where: Mapping[str, Any]) -> Key:
        if len(where) != len(self.key_columns):
            raise CannotFold
        try:
            return self.key_of(where)
        except KeyError:
            raise CannotFold from None

    def as_columns(self, key: Key) -> tuple[Any, ...]:
        return (key,) if len(self.key_columns) == 1 else key


def _sum(row: Values, by: Mapping[str, int]) -> None:
    for name, amount in by.items():
        row[name] += amount


class Chunk:
    """primary_keys: of every table, its columns."""

    def __init__(self, primary_keys: Mapping[str, tuple[str, ...]]) -> None:
        self._tables = {
            table: TableFold(key_columns=columns) for table, columns in primary_keys.items()
        }

    def add(self, changes: Iterable[RowChange]) -> None:
        """Inserted values become the chunk's own and are changed. Raises CannotFold."""
        tables = self._tables
        for change in changes:
            table = tables[change.table]
            kind = type(change)
            if kind is Insert:
                table.insert(change.values)  # type: ignore[union-attr, arg-type]
                continue
            if not table.keyed:
                table.begin_keys()
            if kind is Update:
                table.set(change.where, change.values)  # type: ignore[union-attr]
            elif kind is Upsert:
                table.begin({**change.key, **change.values})  # type: ignore[union-attr]
            elif kind is Increment:
                table.add(change.where, change.by)  # type: ignore[union-attr]
            elif kind is Accumulate:
                table.sum(change.key, change.by)  # type: ignore[union-attr]
            else:
                table.delete(change.where)  # type: ignore[union-attr]

    def statements(self) -> Iterator[Group]:
        """What changes rows from before this chunk, deletions first."""
        for name, table in self._tables.items():
            keys = table.key_columns
            if table.deleted:
                form = Form(Delete, name, keys, ())
                yield Group(form, 0, {table.as_columns(key): () for key in table.deleted})
            for columns, values in table.swept.items():
                yield Group(Form(Delete, name, columns, ()), 0, dict.fromkeys(values, ()))
            for kind, changes in (
                (Update, table.changed),
                (Increment, table.added),
                (Accumulate, table.summed),
            ):
                yield from _grouped(kind, name, table, changes)

    def rows(self) -> Iterator[tuple[str, tuple[str, ...], Sequence[Values]]]:
        """Table, columns and rows of what this chunk made, for COPY; columns that are not named
        are empty."""
        for name, table in self._tables.items():
            shapes: dict[tuple[str, ...], list[Values]] = {}
            for row in (*table.inserted, *table.made.values()):
                shapes.setdefault(tuple(row), []).append(row)
            for columns, rows in shapes.items():
                yield name, columns, rows


def _grouped(
    kind: type[RowChange], name: str, table: TableFold, changes: Mapping[Key, Values]
) -> Iterator[Group]:
    groups: dict[tuple[str, ...], Group] = {}
    for key, values in changes.items():
        if not values:
            continue
        columns = tuple(values)
        group = groups.get(columns)
        if group is None:
            group = groups[columns] = Group(Form(kind, name, table.key_columns, columns), 0)
        group.rows[table.as_columns(key)] = tuple(values.values())
    yield from groups.values()
