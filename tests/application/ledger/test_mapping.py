"""Whatever is stored comes back as it was."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from eventsourcing.persistence import MapperDeserialisationError, StoredEvent
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from application.ledger.mapping import EventMapper
from application.ledger.streams import ALL_KINDS
from domain.events import Event
from domain.pricing.price import Price, PriceKind
from infrastructure.event_store.recorder import open_application
from tests.support.books import stored_events
from tests.support.keys import LEDGER_KEYS, with_mac
from tests.support.servers import DatabaseUrls

EVENT_TYPES = [event_type for kind in ALL_KINDS for event_type in kind.event_types]

_not_negative = st.integers(0, 2**63 - 1)
_prices = st.builds(
    Price,
    kind=st.sampled_from(PriceKind),
    version=st.text(),
    message_micro=_not_negative,
    prompt_micro_per_1000=_not_negative,
    completion_micro_per_1000=_not_negative,
)
st.register_type_strategy(int, st.integers(-(2**63), 2**63 - 1))
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
st.register_type_strategy(
    datetime,
    st.datetimes(timezones=st.just(UTC), allow_imaginary=False).map(lambda t: t.replace(fold=0)),
)
st.register_type_strategy(Price, _prices)


def events_of(event_type: type[Event]) -> st.SearchStrategy[Event]:
    return st.builds(event_type, originator_version=st.integers(1, 2**31))


@pytest.mark.parametrize("event_type", EVENT_TYPES, ids=lambda t: t.TOPIC)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_event_comes_back_equal_and_with_equal_types(
    event_type: type[Event], data: st.DataObject
) -> None:
    event = data.draw(events_of(event_type))
    mapper = EventMapper(LEDGER_KEYS)

    back = mapper.to_domain_event(mapper.to_stored_event(event))

    assert back == event
    assert type(back) is event_type
    assert repr(back) == repr(event), "nested values have kept their types too"


def test_every_kind_of_event_passes_through_the_database(migrated: DatabaseUrls) -> None:
    application = open_application(
        migrated.service, LEDGER_KEYS, threads=2, connect_timeout_s=5, cached_streams_max=10
    )
    any_one = settings(phases=[Phase.generate], derandomize=True)
    events = [
        find(events_of(event_type), lambda _: True, settings=any_one) for event_type in EVENT_TYPES
    ]
    for number, event in enumerate(events):
        vars(event)["originator_id"] = UUID(int=number)
    application.save(*events)
    application.close()

    assert stored_events(migrated.service) == events


@pytest.mark.parametrize(
    ("topic", "state"),
    [
        ("account.closed", b"{}"),
        ("domain.accounts.events:AccountOpened", b"{}"),
        ("account.opened", b"{}"),
        ("account.opened", b"not json"),
        ("account.opened", b"[]"),
        ("account.opened", b'{"timestamp": "2026-03-01T00:00:00Z", "user_id": 5}'),
    ],
)
def test_an_event_that_cannot_be_read_is_named(topic: str, state: bytes) -> None:
    stored = with_mac(
        StoredEvent(originator_id=UUID(int=7), originator_version=3, topic=topic, state=state)
    )
    with pytest.raises(MapperDeserialisationError, match=f"version 3 of stream {UUID(int=7)}"):
        EventMapper(LEDGER_KEYS).to_domain_event(stored)
