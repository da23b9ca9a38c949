"""Writing what changes were folded into gives the same rows as making each change by itself."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infrastructure.read_models.folded_rows import Fold, fold_changes
from infrastructure.read_models.row_sql import Form, RowGroup
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

PRIMARY_KEYS = {"things": ("id",), "counts": ("day", "name")}
Row = dict[str, Any]


class Conflict(Exception):
    """The database refuses a second row of one key."""


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
    """As the live projector does."""
    for fold in fold_changes(made, PRIMARY_KEYS):
        for group in (*fold.changed_rows(), *fold.new_rows()):
            tables.run(group)
    return tables


def write_by_copy(tables: Tables, made: Sequence[RowChange]) -> Tables:
    """As a rebuild does: where COPY meets a row that is there, it writes as the projector does."""
    copied = tables.copy()
    try:
        for fold in fold_changes(made, PRIMARY_KEYS):
            for group in fold.changed_rows():
                copied.run(group)
            for group in fold.new_rows():
                copied.copy_in(group)
    except Conflict:
        return write(tables, made)
    return copied


@pytest.mark.parametrize("way", [write, write_by_copy])
@settings(max_examples=400, deadline=None)
@given(stretches=st.lists(st.lists(changes, max_size=12), max_size=5))
def test_folds_come_to_what_each_change_by_itself_comes_to(
    way: Callable[[Tables, Sequence[RowChange]], Tables], stretches: list[list[RowChange]]
) -> None:
    one_by_one = Tables()
    for change in (change for stretch in stretches for change in stretch):
        one_by_one.make(change)

    folded = Tables()
    for stretch in stretches:
        folded = way(folded, stretch)

    assert folded.rows == one_by_one.rows


def only_fold(*made: RowChange) -> Fold:
    (fold,) = fold_changes(made, PRIMARY_KEYS)
    return fold


def test_a_row_that_comes_and_goes_within_a_fold_is_never_written() -> None:
    fold = only_fold(
        Upsert("things", {"id": 1}, {"owner": "ada", "size": 1}),
        Increment("things", {"id": 1}, {"size": 4}),
        Upsert("things", {"id": 2}, {"owner": "bob", "size": 1}),
        Delete("things", {"id": 1}),
    )
    (new,) = fold.new_rows()
    assert new.rows == [{"id": 2, "owner": "bob", "size": 1}]
    assert [group.rows for group in fold.changed_rows()] == [[{"id": 1}]]


def test_a_row_that_went_and_came_again_under_another_owner_stays() -> None:
    fold = only_fold(
        Upsert("things", {"id": 1}, {"owner": "ada"}),
        Delete("things", {"owner": "bob"}),
        Delete("things", {"id": 1}),
        Upsert("things", {"id": 1}, {"owner": "bob"}),
        Delete("things", {"owner": "ada"}),
    )
    (new,) = fold.new_rows()
    assert new.rows == [{"id": 1, "owner": "bob"}]


def test_what_happens_to_a_row_from_before_is_one_change() -> None:
    fold = only_fold(
        Increment("things", {"id": 1}, {"size": 4}),
        Update("things", {"id": 1}, {"size": 7}),
        Increment("things", {"id": 1}, {"size": 1}),
        Update("things", {"id": 1}, {"text": "new"}),
    )
    (group,) = fold.changed_rows()
    assert (group.form.kind, group.form.values) == (Update, ("size", "text"))
    assert group.rows == [{"id": 1, "size": 8, "text": "new"}]


def test_what_needs_a_row_that_only_the_database_has_begins_another_fold() -> None:
    ada_s: dict[str, Value] = {"day": 1, "name": "ada"}
    assert len(fold_changes([], PRIMARY_KEYS)) == 1
    for earlier, later in (
        (
            Update("things", {"id": 1}, {"size": 2}),
            Upsert("things", {"id": 1}, {"size": 3}),
        ),
        (
            Update("things", {"id": 1}, {"size": None}),
            Increment("things", {"id": 1}, {"size": 3}),
        ),
        (
            Update("things", {"id": 1}, {"owner": "bob"}),
            Delete("things", {"owner": "ada"}),
        ),
        (Accumulate("counts", ada_s, {"sum": 1}), Delete("counts", ada_s)),
        (Insert("things", {"id": 1}), Update("things", {"id": 1}, {"size": 2})),
        (Update("things", {"id": 1}, {"size": 2}), Insert("things", {"id": 2})),
    ):
        assert len(fold_changes([earlier, later], PRIMARY_KEYS)) == 2, (earlier, later)


def test_a_row_is_changed_by_its_key_and_nothing_else() -> None:
    with pytest.raises(AssertionError, match="find one row by its key"):
        fold_changes([Update("counts", {"day": 1}, {"sum": 2})], PRIMARY_KEYS)


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("a\x00b", "a\N{REPLACEMENT CHARACTER}b"),
        ("\\u0000", "\\u0000"),
        ("\\\x00", "\\\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_text_is_stored_without_nul_which_postgres_does_not_take(text: str, stored: str) -> None:
    form = Form(Insert, "things", ("id",), ("price", "text"))
    group = RowGroup(form, [{"id": 1, "text": text, "price": {"kind": text}}])
    assert msgspec.json.decode(group.json()) == [
        {"id": 1, "text": stored, "price": {"kind": stored}}
    ]
