"""Every fact can be stored, read back, and looked up in the documentation."""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from importlib import import_module
from pkgutil import walk_packages
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import domain
from application.ledger.mapping import EventMapper
from application.ledger.streams import ALL_KINDS
from domain.accounts.events import MoneyEvent
from domain.events import Event, PersonalMark
from tests.support.keys import LEDGER_KEYS
from tools.event_docs import EVENTS_PAGE, render_event_docs

STORED_NAME = re.compile(r"[a-z]+\.[a-z]+(_[a-z]+)*")
ABSTRACT = {Event, MoneyEvent}


def below(event_type: type[Event]) -> Iterator[type[Event]]:
    for subclass in event_type.__subclasses__():
        yield subclass
        yield from below(subclass)


def event_types() -> list[type[Event]]:
    for module in walk_packages(domain.__path__, "domain."):
        import_module(module.name)
    in_domain = [each for each in below(Event) if each.__module__.startswith("domain.")]
    return [each for each in in_domain if each not in ABSTRACT]


@pytest.mark.parametrize("event_type", event_types(), ids=lambda each: each.__name__)
def test_every_event_class_has_a_stored_name_of_its_own(event_type: type[Event]) -> None:
    assert STORED_NAME.fullmatch(event_type.__dict__.get("TOPIC", ""))
    assert "TOPIC" in event_type.__dict__, "an inherited name would be another class's"


def test_no_two_event_classes_share_a_stored_name() -> None:
    names = [event_type.TOPIC for event_type in event_types()]
    assert sorted(names) == sorted(set(names))


def test_every_event_class_belongs_to_one_kind_of_stream() -> None:
    of_streams = [event_type for kind in ALL_KINDS for event_type in kind.event_types]
    assert sorted(map(str, of_streams)) == sorted(map(str, event_types()))


# What the interfaces let through: whole numbers of 64 bits, finite fractions, times with a zone.
PLAIN: dict[object, st.SearchStrategy[Any]] = {
    int: st.integers(0, 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: st.text(max_size=20),
    bool: st.booleans(),
    datetime: st.datetimes(timezones=st.just(UTC)),
    NoneType: st.none(),
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    parts = [
        values(part) for part in get_args(hint) if not isinstance(part, PersonalMark | type(...))
    ]
    if get_origin(hint) is Annotated:
        return parts[0]
    if isinstance(hint, UnionType):
        return st.one_of(parts)
    if get_origin(hint) is tuple:
        return st.lists(parts[0], max_size=3).map(tuple)
    if isinstance(hint, type) and is_dataclass(hint):
        hints = get_type_hints(hint, include_extras=True)
        return st.builds(hint, **{field.name: values(hints[field.name]) for field in fields(hint)})
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    return PLAIN.get(hint, st.uuids())


any_event = st.one_of([values(event_type) for event_type in event_types()])


@settings(
    deadline=None, derandomize=True, max_examples=300, suppress_health_check=list(HealthCheck)
)
@given(any_event)
def test_an_event_is_read_back_as_it_was_stored(event: Event) -> None:
    mapper = EventMapper(LEDGER_KEYS)
    assert mapper.to_domain_event(mapper.to_stored_event(event)) == event


def test_the_page_of_events_is_what_the_code_says() -> None:
    assert EVENTS_PAGE.read_text(encoding="utf-8") == render_event_docs(), (
        "run `python -m tools.event_docs` and commit docs/events.md"
    )
