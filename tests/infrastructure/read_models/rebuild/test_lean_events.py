"""What a rebuild reads of an event, and what projections make of it, is what they make of the
event itself."""

import re
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from application.ledger.event_macs import EventNotAuthentic
from application.ledger.mapping import CODEC, EventCodec, EventMapper
from domain.accounts.events import AccountOpened, CreditsDebited, CreditsHeld
from domain.events import Event
from infrastructure.read_models.rebuild.lean_events import (
    LeanEvents,
    LeanReader,
    LeanRow,
    NotLean,
    Taker,
)
from projections.registry import PROJECTIONS
from tests.history.test_upcasting import MAPPER as GIFT_MAPPER
from tests.history.test_upcasting import GiftSent
from tests.history.test_upcasting import stored as stored_gift
from tests.projections.random_history import RandomHistory
from tests.support.keys import EVENT_MACS, LEDGER_KEYS

MAPPER = EventMapper(LEDGER_KEYS)


def all_takers() -> dict[type[Event], list[Taker]]:
    takers: dict[type[Event], list[Taker]] = {}
    for projection in PROJECTIONS:
        for event_type, handler in projection.handlers.items():
            takers.setdefault(event_type, []).append(Taker(handler=handler, held=0))
    return takers


def rows_of(events: Sequence[Event]) -> list[LeanRow]:
    stored = [MAPPER.to_stored_event(event) for event in events]
    return [
        (position, each.topic, str(each.originator_id), each.originator_version, each.state)
        for position, each in enumerate(stored, start=1)
    ]


def written_with(row: LeanRow, before: UUID, after: str) -> LeanRow:
    """An id in another way, by whoever has the keys."""
    position, topic, stream_id, version, state = row
    bare = state[: state.rindex(b',"mac":"')] + b"}"
    changed = bare.replace(str(before).encode(), after.encode())
    assert changed != bare
    return (
        position,
        topic,
        stream_id,
        version,
        EVENT_MACS.add(UUID(stream_id).bytes, version, topic, changed),
    )


def events_of(seed: int, commits: int) -> list[Event]:
    takers = all_takers()
    history = RandomHistory(seed).commits(commits)
    return [event for commit in history for event in commit if type(event) in takers]


def plain(change: Any) -> list[Any]:
    """Of which kind it is, and what it asks for, with ids as texts."""
    return [type(change).__name__, *msgspec.json.decode(msgspec.json.encode(_listed(change)))]


def _listed(change: Any) -> list[Any]:
    return [getattr(change, name) for name in change.__struct_fields__]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(min_value=0, max_value=2**32))
def test_every_projection_makes_the_same_changes_of_both(seed: int) -> None:
    events = events_of(seed, 60)
    by_typed = [
        plain(change)
        for position, event in enumerate(events, start=1)
        for projection in PROJECTIONS
        for change in projection.project(event, position)
    ]
    by_lean = [
        plain(change)
        for changes in LeanEvents(all_takers(), EVENT_MACS).changes(rows_of(events))
        for change in changes
    ]
    assert by_lean == by_typed
    assert by_lean


def test_an_id_that_is_written_in_another_way_is_noticed_wherever_it_is() -> None:
    events = events_of(3, 200)
    debited = next(event for event in events if isinstance(event, CreditsDebited) and event.shares)
    ids = {debited.user_id, debited.hold_id, debited.message_id, debited.shares[0].bucket_id}
    assert len(ids) == 4
    (row,) = rows_of([debited])
    lean_events = LeanEvents(all_takers(), EVENT_MACS)
    for one in ids:
        shouted = written_with(row, one, str(one).upper())
        with pytest.raises(NotLean):
            list(lean_events.changes([shouted]))
    bare = written_with(row, debited.hold_id, debited.hold_id.hex)
    with pytest.raises(msgspec.ValidationError):
        list(lean_events.changes([bare]))


def test_an_event_that_the_ledger_did_not_write_is_given_to_nobody() -> None:
    events = events_of(3, 60)
    rows = rows_of(events)
    position, topic, stream_id, version, state = rows[7]
    rows[7] = (position, topic, stream_id, version + 1, state)
    with pytest.raises(EventNotAuthentic, match=f"position {position} "):
        list(LeanEvents(all_takers(), EVENT_MACS).changes(rows))


def test_a_missing_id_is_no_id_in_another_form() -> None:
    opened = AccountOpened(
        originator_id=UUID(int=5),
        originator_version=1,
        timestamp=datetime(2026, 3, 1, tzinfo=UTC),
        user_id=UUID(int=6),
    )
    (changes,) = LeanEvents(all_takers(), EVENT_MACS).changes(rows_of([opened]))
    assert [change.table for change in changes] == ["balances"]


def test_rows_that_a_projection_holds_already_are_not_asked_for_again() -> None:
    taken: list[int] = []

    def take(_event: Any, position: int) -> tuple[()]:
        taken.append(position)
        return ()

    events = [event for event in events_of(4, 100) if isinstance(event, CreditsHeld)][:5]
    lean_events = LeanEvents({CreditsHeld: [Taker(handler=take, held=3)]}, EVENT_MACS)
    list(lean_events.changes(rows_of(events)))
    assert taken == [4, 5]


def test_an_event_of_an_older_form_is_brought_up_to_date() -> None:
    old = (
        b'{"timestamp":"2026-03-01T00:00:00Z","to_user_id":"00000000-0000-0000-0000-000000000006",'
        b'"credits":3}'
    )
    typed = GIFT_MAPPER.to_domain_event(stored_gift(old))
    reader = LeanReader(GiftSent, EventCodec([GiftSent]))
    lean = reader.decode("00000000-0000-0000-0000-000000000005", old)
    for field in fields(GiftSent):
        value = getattr(typed, field.name)
        if field.name != "originator_version":
            same = str(value) if isinstance(value, UUID) else value
            assert getattr(lean, field.name) == same, field.name
    assert list(reader.ids(lean)) == ["00000000-0000-0000-0000-000000000006"]


def test_what_an_event_refuses_its_lean_form_refuses() -> None:
    debited = next(event for event in events_of(3, 200) if isinstance(event, CreditsDebited))
    ((_, topic, stream_id, _, state),) = rows_of([debited])
    negative = re.sub(rb'"message_micro":[0-9]+', b'"message_micro":-1', state)
    assert negative != state
    with pytest.raises(AssertionError, match="never negative"):
        CODEC.decode(topic=topic, originator_id=UUID(int=1), originator_version=1, state=negative)
    with pytest.raises(AssertionError, match="never negative"):
        LeanReader(CreditsDebited).decode(stream_id, negative)
