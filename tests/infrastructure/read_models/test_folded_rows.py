"""Writing what changes were folded into gives the same rows as making each change by itself."""

from collections.abc import Callable, Sequence
from itertools import count

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
from tests.infrastructure.read_models.naive_rows import Conflict, Row, Tables

PRIMARY_KEYS = {"things": ("id",), "notes": ("id",), "counts": ("day", "name"), "lines": ("id",)}


OWNERS = ("ada", "bob")


ids = st.integers(1, 3).map(lambda number: {"id": number})
owners = st.sampled_from(["ada", "bob"])
# A note never gets another owner, so an upsert of one may leave columns out: see `Delete`.
owned_notes = st.integers(1, 3).map(lambda number: ({"id": number}, {"owner": OWNERS[number % 2]}))
numbers = st.integers(-3, 3)
counted = st.fixed_dictionaries({"day": st.integers(1, 2), "name": owners})


def _upserted(note: tuple[Row, Row], values: Row) -> Upsert:
    key, owned = note
    return Upsert("notes", key, owned | values)


def _changes_of(table: str) -> list[st.SearchStrategy[RowChange]]:
    """Changes of rows of one owner each, which have a size and a text."""
    return [
        st.builds(Update, st.just(table), ids, maybe_empty),
        st.builds(Update, st.just(table), ids, st.fixed_dictionaries({"text": owners})),
        st.builds(Increment, st.just(table), ids, st.fixed_dictionaries({"size": numbers})),
        st.builds(Delete, st.just(table), ids),
        st.builds(Delete, st.just(table), st.fixed_dictionaries({"owner": owners})),
    ]


sizes = st.fixed_dictionaries({"size": numbers})
maybe_empty = st.fixed_dictionaries({"size": st.none() | numbers})
both = st.fixed_dictionaries({"sum": numbers, "most": numbers})
changes: st.SearchStrategy[RowChange] = st.one_of(
    st.builds(
        Upsert,
        st.just("things"),
        ids,
        st.fixed_dictionaries({"owner": owners, "size": numbers, "text": st.none()}),
    ),
    *_changes_of("things"),
    st.builds(Update, st.just("things"), ids, st.fixed_dictionaries({"owner": owners})),
    st.builds(Delete, st.just("things"), sizes),
    st.builds(Delete, st.just("things"), st.fixed_dictionaries({"owner": owners, "size": numbers})),
    st.builds(_upserted, owned_notes, maybe_empty),
    st.builds(_upserted, owned_notes, st.fixed_dictionaries({"size": numbers, "text": owners})),
    *_changes_of("notes"),
    st.builds(Accumulate, st.just("counts"), counted, both),
    st.builds(Upsert, st.just("counts"), counted, both),
    st.builds(Update, st.just("counts"), counted, st.fixed_dictionaries({"sum": numbers})),
    st.builds(Increment, st.just("counts"), counted, st.fixed_dictionaries({"most": numbers})),
    st.builds(Delete, st.just("counts"), counted),
    st.builds(Insert, st.just("lines"), sizes),
    st.builds(Update, st.just("lines"), ids, sizes),
    st.builds(Delete, st.just("lines"), ids),
    st.builds(Delete, st.just("lines"), sizes),
)


def numbered(stretches: Sequence[Sequence[RowChange]]) -> list[list[RowChange]]:
    """With an id of its own for each inserted row, as the database demands."""
    numbers = count(1)
    return [
        [
            Insert(change.table, {"id": next(numbers), **change.values})
            if isinstance(change, Insert)
            else change
            for change in stretch
        ]
        for stretch in stretches
    ]


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
@settings(max_examples=600, deadline=None)
@given(stretches=st.lists(st.lists(changes, max_size=20), max_size=5))
def test_folds_come_to_what_each_change_by_itself_comes_to(
    way: Callable[[Tables, Sequence[RowChange]], Tables], stretches: list[list[RowChange]]
) -> None:
    one_by_one = Tables(PRIMARY_KEYS)
    for change in (change for stretch in numbered(stretches) for change in stretch):
        one_by_one.make(change)

    folded = Tables(PRIMARY_KEYS)
    for stretch in numbered(stretches):
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


def test_rows_are_deleted_by_what_was_added_to_them_before() -> None:
    """Whether they are from before the fold, or made in it."""
    made = Upsert("things", {"id": 1}, {"owner": "ada", "size": 1, "text": None})
    added = Increment("things", {"id": 1}, {"size": 1})
    histories: list[list[list[RowChange]]] = [
        [[made], [added, Delete("things", {"size": 2})]],
        [[made], [added, Delete("things", {"size": 1})]],
        [[made, Delete("things", {"size": 5}), added, Delete("things", {"size": 2})]],
        [[made, Delete("things", {"size": 5}), added, Delete("things", {"size": 1})]],
    ]
    for stretches in histories:
        one_by_one, folded = Tables(PRIMARY_KEYS), Tables(PRIMARY_KEYS)
        for stretch in stretches:
            for change in stretch:
                one_by_one.make(change)
            folded = write(folded, stretch)
        assert folded.rows == one_by_one.rows, stretches


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
