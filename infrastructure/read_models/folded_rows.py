"""Row changes of many events, folded in memory into what they come to.

Most rows are made and changed within a few thousand events: a prompt is answered, a hold is opened
and closed. Folded first, such a row is written once or never, and a row from before is changed
once.

Written in the order of `Fold.changed_rows` and then `Fold.new_rows`, everything comes out as if
each change had been made by itself: a deletion concerns only rows that were there before the fold,
because what the fold itself had made was taken out of it at once. Where that would not hold, a new
fold begins.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any
from uuid import UUID

from infrastructure.read_models.row_sql import Form, RowGroup, Values
from projections.row_changes import (
    Accumulate,
    Delete,
    Increment,
    Insert,
    RowChange,
    Update,
    Upsert,
)

# What tells a row of a table from its others; made of its key columns.
Key = Any


class CannotFold(Exception):
    """The change needs a row that only the database has, or must come after what the fold writes
    last. It has changed nothing in the fold, and is the first change of the next one."""


@dataclass(slots=True)
class TableFold:
    """The changes of one table. Values are columns by name, those of the row's key among them.

    keyed: whether any change has named a row by its key; after that no row is inserted blindly.
    inserted: rows of Insert. made: rows of Upsert, with all later changes in them. changed, added:
    what Update sets and Increment adds in rows from before the fold. summed: what Accumulate adds
    to rows that may not be there yet. deleted: keys of rows to delete. swept: for a deletion by
    other columns than the key, the values of those columns. found: for the same columns, which of
    `made` have which values. changed_columns: those that are set or added to in any row from
    before."""

    key_columns: tuple[str, ...]
    keyed: bool = False
    inserted: list[Values] = field(default_factory=list)
    made: dict[Key, Values] = field(default_factory=dict)
    changed: dict[Key, Values] = field(default_factory=dict)
    added: dict[Key, Values] = field(default_factory=dict)
    summed: dict[Key, Values] = field(default_factory=dict)
    deleted: dict[Key, Values] = field(default_factory=dict)
    swept: dict[tuple[str, ...], dict[tuple[Any, ...], None]] = field(default_factory=dict)
    found: dict[tuple[str, ...], dict[tuple[Any, ...], list[Key]]] = field(default_factory=dict)
    changed_columns: set[str] = field(default_factory=set)
    key_of: Callable[[Mapping[str, Any]], Key] = field(init=False)

    def __post_init__(self) -> None:
        self.key_of = _key_of(self.key_columns)

    def begin(self, key: Key, row: Values) -> None:
        if key in self.made or key in self.changed or key in self.added or key in self.summed:
            raise CannotFold
        self.made[key] = row
        for columns, keys in self.found.items():
            keys.setdefault(_picked(row, columns), []).append(key)

    def set(self, key: Key, where: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        row = self.made.get(key)
        if row is not None:
            row.update(values)
            self._forget_places(values)
            return
        if key in self.summed:
            raise CannotFold
        if key in self.deleted:
            return
        self.changed_columns.update(values)
        known = self.changed.get(key)
        if known is None:
            self.changed[key] = {**where, **values}
        else:
            known.update(values)
        added = self.added.get(key)
        if added is not None:
            for name in values:
                added.pop(name, None)

    def add(self, key: Key, where: Mapping[str, Any], by: Mapping[str, int]) -> None:
        row = self.made.get(key)
        if row is not None:
            _sum(row, by)
            self._forget_places(by)
            return
        if key in self.summed:
            raise CannotFold
        if key in self.deleted:
            return
        known = self.changed.get(key)
        if known is not None and not by.keys().isdisjoint(known):
            _sum(known, by)
            return
        self.changed_columns.update(by)
        added = self.added.get(key)
        if added is None:
            self.added[key] = {**where, **by}
        else:
            for name, amount in by.items():
                added[name] = added.get(name, 0) + amount

    def sum(self, key: Key, where: Mapping[str, Any], by: Mapping[str, int]) -> None:
        row = self.made.get(key) or self.summed.get(key)
        if row is not None:
            _sum(row, by)
            self._forget_places(by)
        elif key in self.changed or key in self.added or key in self.deleted:
            raise CannotFold
        else:
            self.summed[key] = {**where, **by}

    def delete(self, where: Mapping[str, Any]) -> None:
        if self.summed:
            raise CannotFold
        if where.keys() != set(self.key_columns):
            self._sweep(where)
            return
        key = self.key_of(where)
        # Before the row that was begun here, the database may have had another one.
        self.made.pop(key, None)
        self.changed.pop(key, None)
        self.added.pop(key, None)
        self.deleted[key] = dict(where)

    def _sweep(self, where: Mapping[str, Any]) -> None:
        columns, values = tuple(where), tuple(where.values())
        if not self.changed_columns.isdisjoint(columns):
            raise CannotFold
        if columns not in self.found:
            keys: dict[tuple[Any, ...], list[Key]] = {}
            for key, row in self.made.items():
                keys.setdefault(_picked(row, columns), []).append(key)
            self.found[columns] = keys
        for key in self.found[columns].pop(values, ()):
            made = self.made.get(key)
            # A row may have been deleted since, and made again with other values.
            if made is not None and _picked(made, columns) == values:
                del self.made[key]
                # As in `delete`, the database may have another one, with other values.
                self.deleted[key] = {name: made[name] for name in self.key_columns}
        self.swept.setdefault(columns, {})[values] = None

    def _forget_places(self, changed: Iterable[str]) -> None:
        """Made rows were looked for by columns that have other values now."""
        if self.found and any(name in columns for columns in self.found for name in changed):
            self.found.clear()


class Fold:
    """primary_keys: of every table, its columns."""

    def __init__(self, primary_keys: Mapping[str, tuple[str, ...]]) -> None:
        self._tables = {
            table: TableFold(key_columns=columns) for table, columns in primary_keys.items()
        }

    def add(self, change: RowChange) -> None:
        """Inserted values now belong to the fold, which may change them. Raises CannotFold."""
        table = self._tables[change.table]
        if isinstance(change, Insert):
            if table.keyed:
                raise CannotFold
            # Two rows of one key are refused by the database.
            table.inserted.append(change.values)
            return
        if table.inserted:
            raise CannotFold
        table.keyed = True
        if isinstance(change, Update):
            table.set(_one_row(table, change.where), change.where, change.values)
        elif isinstance(change, Upsert):
            table.begin(_one_row(table, change.key), {**change.key, **change.values})
        elif isinstance(change, Increment):
            table.add(_one_row(table, change.where), change.where, change.by)
        elif isinstance(change, Accumulate):
            table.sum(_one_row(table, change.key), change.key, change.by)
        else:
            table.delete(change.where)

    def changed_rows(self) -> Iterator[RowGroup]:
        """Changes of rows from before this fold, deletions first."""
        for name, table in self._tables.items():
            keys = table.key_columns
            yield from _grouped(Delete, name, keys, table.deleted.values())
            for columns, swept in table.swept.items():
                rows = [dict(zip(columns, values, strict=True)) for values in swept]
                yield RowGroup(Form(Delete, name, columns, ()), rows)
            yield from _grouped(Update, name, keys, table.changed.values())
            yield from _grouped(Increment, name, keys, table.added.values())
            yield from _grouped(Accumulate, name, keys, table.summed.values())

    def new_rows(self) -> Iterator[RowGroup]:
        """Columns that a new row does not name stay empty."""
        for name, table in self._tables.items():
            yield from _grouped(Insert, name, table.key_columns, table.inserted)
            yield from _grouped(Upsert, name, table.key_columns, table.made.values())


def fold_changes(
    changes: Iterable[RowChange], primary_keys: Mapping[str, tuple[str, ...]]
) -> list[Fold]:
    """Folds to be written one after the other; nearly always there is only one."""
    fold = Fold(primary_keys)
    folds = [fold]
    for change in changes:
        try:
            fold.add(change)
        except CannotFold:
            fold = Fold(primary_keys)
            folds.append(fold)
            fold.add(change)
    return folds


def _key_of(columns: tuple[str, ...]) -> Callable[[Mapping[str, Any]], Key]:
    if len(columns) == 1:
        (column,) = columns
        return lambda row: _quick(row[column])
    values_of = itemgetter(*columns)
    return lambda row: tuple(map(_quick, values_of(row)))


def _quick(value: Any) -> Any:
    """Equal for equal values of one column. Hashing a UUID takes several times as long as hashing
    its number, and a row is looked for in several dictionaries."""
    return value.int if type(value) is UUID else value


def _one_row(table: TableFold, where: Mapping[str, Any]) -> Key:
    assert len(where) == len(table.key_columns), "all but deletions find one row by its key"
    return table.key_of(where)


def _picked(row: Values, columns: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple([row.get(column) for column in columns])


def _sum(row: Values, by: Mapping[str, int]) -> None:
    # Only the database knows the sum where the column is empty or not among these.
    if not all(type(row.get(name)) is int for name in by):
        raise CannotFold
    for name, amount in by.items():
        row[name] += amount


def _grouped(
    kind: type[RowChange], table: str, keys: tuple[str, ...], rows: Iterable[Values]
) -> Iterator[RowGroup]:
    """Rows with the same columns together."""
    groups: dict[tuple[str, ...], list[Values]] = {}
    for row in rows:
        groups.setdefault(tuple(row), []).append(row)
    for columns, alike in groups.items():
        values = tuple(sorted(column for column in columns if column not in keys))
        if values or kind is Delete:
            yield RowGroup(Form(kind, table, keys, values), alike)
