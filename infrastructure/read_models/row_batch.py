"""Row changes of many events, put together into few statements.

Changes of different rows commute, so a change may join an earlier statement of its form as long
as no later statement has touched its row. What a batch of a thousand events asks for is then some
thirty statements, each over an array of rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import msgspec

from projections.row_changes import (
    Accumulate,
    Delete,
    Increment,
    Insert,
    RowChange,
    Update,
    Upsert,
    Value,
)

_encoder = msgspec.json.Encoder()
_NUL = b"\\u0000"


@dataclass(frozen=True)
class Form:
    """One statement's form. keys: the columns that find the row; values: the others. adds: whether
    values are added to what is there."""

    kind: type[RowChange]
    table: str
    keys: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return self.keys + self.values

    @property
    def adds(self) -> bool:
        return self.kind is Increment or self.kind is Accumulate


@dataclass(slots=True)
class Group:
    """rows: by their keys, each with its values; an insert's rows are under their primary key."""

    form: Form
    index: int
    rows: dict[tuple[Any, ...], tuple[Any, ...]] = field(default_factory=dict)

    def json(self) -> bytes:
        """An array of objects, one for each row."""
        columns = self.form.columns
        wide = [dict(zip(columns, (*key, *row), strict=True)) for key, row in self.rows.items()]
        body = _encoder.encode(wide)
        # PostgreSQL's text holds no NUL. Prompts have none, but a model may write anything.
        if _NUL in body:
            body = _encoder.encode(
                [{name: _without_nul(value) for name, value in row.items()} for row in wide]
            )
        return body


@dataclass(slots=True)
class _Table:
    """last: the newest group of the table. barrier: the newest group that may have touched any
    row. touched: per row, the newest group that touched it."""

    primary_key: frozenset[str]
    row_key: Callable[[Mapping[str, Value]], tuple[Any, ...]]
    last: int = -1
    barrier: int = -1
    touched: dict[tuple[Any, ...], int] = field(default_factory=dict)


class RowBatch:
    """primary_keys: of every table, its columns."""

    def __init__(self, primary_keys: Mapping[str, tuple[str, ...]]) -> None:
        self._tables = {
            table: _Table(primary_key=frozenset(columns), row_key=_tuple_of(columns))
            for table, columns in primary_keys.items()
        }
        self._open: dict[Form, Group] = {}
        self.groups: list[Group] = []

    def add(self, change: RowChange) -> None:
        table = self._tables[change.table]
        keys, values = _parts(change, table.primary_key)
        form = Form(type(change), change.table, tuple(keys), tuple(values))
        if table.primary_key == keys.keys():
            self._add_row(form, table, table.row_key(keys), keys, values)
        else:
            self._add_barrier(form, table, keys, values)

    def _add_row(
        self,
        form: Form,
        table: _Table,
        row: tuple[Any, ...],
        keys: Mapping[str, Value],
        values: Mapping[str, Value],
    ) -> None:
        after = max(table.barrier, table.touched.get(row, -1))
        group = self._open.get(form)
        key = tuple(keys.values())
        # A second insert of one row is left to the database to refuse.
        if group is None or group.index < after or (form.kind is Insert and key in group.rows):
            group = self._new_group(form)
        _put(group, key, tuple(values.values()))
        table.touched[row] = group.index
        table.last = max(table.last, group.index)

    def _add_barrier(
        self, form: Form, table: _Table, keys: Mapping[str, Value], values: Mapping[str, Value]
    ) -> None:
        """The rows are not known here, so everything of this table stays on its side of it."""
        group = self._open.get(form)
        if group is None or group.index < table.last:
            group = self._new_group(form)
        _put(group, tuple(keys.values()), tuple(values.values()))
        table.last = table.barrier = group.index

    def _new_group(self, form: Form) -> Group:
        group = Group(form, len(self.groups))
        self.groups.append(group)
        self._open[form] = group
        return group


def _parts(
    change: RowChange, primary_key: frozenset[str]
) -> tuple[Mapping[str, Value], Mapping[str, Value]]:
    match change:
        case Insert():
            keys = {name: value for name, value in change.values.items() if name in primary_key}
            rest = {name: value for name, value in change.values.items() if name not in primary_key}
            return keys, rest
        case Upsert():
            return change.key, change.values
        case Update():
            return change.where, change.values
        case Increment():
            return change.where, change.by
        case Accumulate():
            return change.key, change.by
        case Delete():
            return change.where, {}


def _put(group: Group, key: tuple[Any, ...], values: tuple[Any, ...]) -> None:
    before = group.rows.get(key)
    if before is not None and group.form.adds:
        values = tuple(a + b for a, b in zip(before, values, strict=True))
    group.rows[key] = values


def _without_nul(value: Any) -> Any:
    return value.replace("\x00", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value


def _tuple_of(columns: tuple[str, ...]) -> Callable[[Mapping[str, Value]], tuple[Any, ...]]:
    if len(columns) == 1:
        column = columns[0]
        return lambda row: (row[column],)
    return itemgetter(*columns)
