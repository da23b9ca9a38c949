"""Folding changes in memory and writing what they come to is making each of them."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infrastructure.read_models.rebuild.csv_rows import csv_rows
from infrastructure.read_models.rebuild.folded_rows import CannotFold, Chunk
from infrastructure.read_models.row_batch import Group
from projections.row_changes import (
    Accumulate,
    Delete,
    Increment,
    Insert,
    RowChange,
    Update,
    Upsert,
)

PRIMARY_KEYS = {"things": ("id",), "counts": ("day", "name")}
Row = dict[str, Any]


class Conflict(Exception):
    """What the database says to a second row of one key."""


class Tables:
    """Rows by their keys, as a database has them."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[Any, Row]] = {name: {} for name in PRIMARY_KEYS}

    def copy(self) -> "Tables":
        other = Tables()
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

    def run(self, group: Group) -> None:
        form = group.form
        for key, values in group.rows.items():
            where = dict(zip(form.keys, key, strict=True))
            rest = dict(zip(form.values, values, strict=True))
            kinds: dict[Any, RowChange] = {
                Delete: Delete(form.table, where),
                Update: Update(form.table, where, rest),
                Increment: Increment(form.table, where, rest),
                Accumulate: Accumulate(form.table, where, rest),
            }
            self.make(kinds[form.kind])

    def load(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        for row in rows:
            assert tuple(row) == tuple(columns)
            self._insert(table, row)

    def _insert(self, table: str, row: Row) -> None:
        key = self._key(table, row)
        if key in self.rows[table]:
            raise Conflict
        self.rows[table][key] = row

    def _key(self, table: str, values: Any) -> tuple[Any, ...]:
        return tuple(values[column] for column in PRIMARY_KEYS[table])

    def _where(self, table: str, where: Any) -> list[Row]:
        return [
            row
            for row in self.rows[table].values()
            if all(row.get(column) == value for column, value in where.items())
        ]


def _add(row: Row, by: Any) -> None:
    for name, amount in by.items():
        row[name] += amount


ids = st.integers(1, 3).map(lambda number: {"id": number})
owners = st.sampled_from(["ada", "bob"])
numbers = st.integers(-3, 3)
counted = st.fixed_dictionaries({"day": st.integers(1, 2), "name": owners})
changes: st.SearchStrategy[RowChange] = st.one_of(
    st.builds(
        Upsert,
        st.just("things"),
        ids,
        st.fixed_dictionaries({"owner": owners, "size": numbers, "text": st.none()}),
    ),
    st.builds(Update, st.just("things"), ids, st.fixed_dictionaries({"size": numbers})),
    st.builds(Update, st.just("things"), ids, st.fixed_dictionaries({"owner": owners})),
    st.builds(Update, st.just("things"), ids, st.fixed_dictionaries({"text": owners})),
    st.builds(Increment, st.just("things"), ids, st.fixed_dictionaries({"size": numbers})),
    st.builds(Delete, st.just("things"), ids),
    st.builds(Delete, st.just("things"), st.fixed_dictionaries({"owner": owners})),
    st.builds(Accumulate, st.just("counts"), counted, st.fixed_dictionaries({"sum": numbers})),
    st.builds(Delete, st.just("counts"), counted),
)


def write(tables: Tables, made: Sequence[RowChange]) -> Tables:
    """As the bulk writer does, with its way out."""
    before = tables.copy()
    chunk = Chunk(PRIMARY_KEYS)
    try:
        chunk.add(made)
        for group in chunk.statements():
            tables.run(group)
        for table, columns, rows in chunk.rows():
            tables.load(table, columns, rows)
    except (CannotFold, Conflict):
        for change in made:
            before.make(change)
        return before
    return tables


@settings(max_examples=400, deadline=None)
@given(st.lists(st.lists(changes, max_size=12), max_size=5))
def test_chunks_come_to_what_each_change_by_itself_comes_to(
    chunks: list[list[RowChange]],
) -> None:
    one_by_one = Tables()
    for change in (change for chunk in chunks for change in chunk):
        one_by_one.make(change)

    folded = Tables()
    for chunk in chunks:
        folded = write(folded, chunk)

    assert folded.rows == one_by_one.rows


def test_a_row_that_comes_and_goes_within_a_chunk_is_never_written() -> None:
    chunk = Chunk(PRIMARY_KEYS)
    chunk.add(
        [
            Upsert("things", {"id": 1}, {"owner": "ada", "size": 1}),
            Increment("things", {"id": 1}, {"size": 4}),
            Upsert("things", {"id": 2}, {"owner": "bob", "size": 1}),
            Delete("things", {"id": 1}),
        ]
    )
    assert list(chunk.rows()) == [
        ("things", ("id", "owner", "size"), [{"id": 2, "owner": "bob", "size": 1}])
    ]
    assert [group.rows for group in chunk.statements()] == [{(1,): ()}]


def test_a_row_that_went_and_came_again_under_another_owner_stays() -> None:
    chunk = Chunk(PRIMARY_KEYS)
    chunk.add(
        [
            Upsert("things", {"id": 1}, {"owner": "ada"}),
            Delete("things", {"owner": "bob"}),
            Delete("things", {"id": 1}),
            Upsert("things", {"id": 1}, {"owner": "bob"}),
            Delete("things", {"owner": "ada"}),
        ]
    )
    assert list(chunk.rows()) == [("things", ("id", "owner"), [{"id": 1, "owner": "bob"}])]


def test_what_happens_to_a_row_from_before_is_one_change() -> None:
    chunk = Chunk(PRIMARY_KEYS)
    chunk.add(
        [
            Increment("things", {"id": 1}, {"size": 4}),
            Update("things", {"id": 1}, {"size": 7}),
            Increment("things", {"id": 1}, {"size": 1}),
            Update("things", {"id": 1}, {"text": "new"}),
        ]
    )
    (group,) = chunk.statements()
    assert (group.form.values, group.rows) == (("size", "text"), {(1,): (8, "new")})


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "",
        "null",
        'a "quote" and a back\\slash',
        "lines\nand\r\ntabs\tand \\n that is none",
        "],\n[",
        "]\n[",
        "\\.",
        "\x00\x01\x1f\x7f",
        "Grüße, 世界 😀",
        "a,b;c",
    ],
)
def test_a_row_of_csv_is_what_postgres_reads(text: str) -> None:
    body = csv_rows([{"a": 1, "b": text, "c": None, "d": {"x": text}}], ["d"])

    fields = _parse(body.decode())

    assert fields[0] == "1"
    assert fields[1] == text.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    assert fields[2] is None
    inner = fields[3]
    assert inner is not None
    assert msgspec.json.decode(inner) == {"x": text}


def _parse(line: str) -> list[str | None]:
    """PostgreSQL's CSV with QUOTE '"' and ESCAPE '\\', as its documentation of COPY has it: an
    unquoted null is empty, and the escape stands before a quote or itself alone."""
    assert line.endswith("\n")
    fields: list[str | None] = []
    rest = line[:-1]
    while True:
        if rest.startswith('"'):
            value, index = "", 1
            while rest[index] != '"':
                if rest[index] == "\\" and rest[index + 1] in '"\\':
                    index += 1
                value += rest[index]
                index += 1
            fields.append(value)
            rest = rest[index + 1 :]
        else:
            plain, _, _ = rest.partition(",")
            fields.append(None if plain == "null" else plain)
            rest = rest[len(plain) :]
        if not rest:
            return fields
        assert rest[0] == ","
        rest = rest[1:]
