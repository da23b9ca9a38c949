"""Events stored in an old form can still be read, and mean what they meant."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from application.ledger.snapshots import fold
from application.ledger.streams import ALL_KINDS
from domain.accounts.invariants import evolve_checked
from domain.accounts.state import AccountState
from domain.events import Event
from infrastructure.log.seals import seal
from infrastructure.read_models.rebuild.rebuild import rebuild
from tests.history.old_logs import comes_to, load_log, names, plain_rows, read_expected, read_log
from tests.projections.log import stored_rows
from tests.support.books import check_books
from tests.support.keys import EVENT_MACS
from tests.support.servers import DatabaseUrls

EVENT_TYPES = {each.TOPIC: each for kind in ALL_KINDS for each in kind.event_types}
Rows = dict[str, list[dict[str, Any]]]


def events_of(name: str) -> list[tuple[int, Event]]:
    return [(line.position, line.decode()) for line in read_log(name)]


def streams_of(name: str) -> Iterator[tuple[UUID, list[Event]]]:
    streams: dict[UUID, list[Event]] = {}
    for _, event in events_of(name):
        streams.setdefault(UUID(str(event.originator_id)), []).append(event)
    return iter(streams.items())


def as_frozen(rows: Rows, frozen: Rows) -> Rows:
    """Without columns that came later, and with PostgreSQL's replacement for a NUL."""
    columns = {table: {name for row in frozen[table] for name in row} for table in frozen}
    return plain_rows(
        {
            table: [
                {name: _shown(row[name]) for name in columns[table] if name in row}
                for row in rows[table]
            ]
            for table in frozen
        }
    )


def _shown(value: Any) -> Any:
    return value.replace("\x00", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value


def test_a_log_of_the_first_format_is_kept() -> None:
    assert "v1" in names()
    lines = read_log("v1")
    assert {line.class_version for line in lines} == {1}
    # As many kinds of event as there were when it was frozen.
    assert len({line.topic for line in lines}) == 29


@pytest.mark.parametrize("name", names())
def test_every_stream_of_an_old_log_folds(name: str) -> None:
    kinds = {topic: kind for kind in ALL_KINDS for topic in (e.TOPIC for e in kind.event_types)}
    for stream_id, events in streams_of(name):
        kind = kinds[events[0].TOPIC]
        state = fold(kind, None, events)
        assert state is not None
        assert (state.id, state.version) == (stream_id, len(events))
        if kind.name == "account":
            checked: AccountState | None = None
            for event in events:
                checked = evolve_checked(checked, event)  # type: ignore[arg-type]
            assert checked == state


@pytest.mark.parametrize("name", names())
def test_the_books_of_an_old_log_are_what_they_were(name: str) -> None:
    events = events_of(name)
    found = comes_to(events)
    frozen = read_expected(name)

    assert found.trial_balance == frozen.trial_balance
    assert sum(debit - credit for debit, credit in found.trial_balance.values()) == 0
    open_holds = len(frozen.rows["open_holds"])
    check_books([event for _, event in events], holds_open=open_holds)


@pytest.mark.parametrize("name", names())
def test_projections_make_the_rows_that_they_made(name: str) -> None:
    frozen = read_expected(name).rows
    assert as_frozen(comes_to(events_of(name)).rows, frozen) == as_frozen(frozen, frozen)


@pytest.mark.parametrize("name", names())
async def test_an_old_log_in_the_database_is_rebuilt_into_the_rows_that_it_had(
    name: str, database: DatabaseUrls
) -> None:
    load_log(database, read_log(name))
    seal(database.owner, EVENT_MACS, lambda _done: None)

    await rebuild([], database.service, lambda _fraction: None, macs=EVENT_MACS)

    frozen = read_expected(name).rows
    assert as_frozen(plain_rows(stored_rows(database.service)), frozen) == as_frozen(frozen, frozen)


def test_before_a_form_changes_a_log_of_the_old_one_is_frozen() -> None:
    kept = {(line.topic, line.class_version) for name in names() for line in read_log(name)}
    missing = [
        f"{topic} in version {version}"
        for topic, event_type in EVENT_TYPES.items()
        for version in range(1, event_type.class_version)
        if (topic, version) not in kept
    ]
    assert missing == [], (
        "run `python -m tests.history.old_logs NAME` on the code before the change"
    )
