"""How an event changes its form: an example, worked through the mapper that the service uses.

`GiftSent` was once stored with a name and whole credits. Its class is now of version 3: the amount
became micro-credits (version 2), and a reason came in (version 3). History keeps every form.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

import pytest
from eventsourcing.persistence import MapperDeserialisationError, StoredEvent

from application.ledger.mapping import EventCodec, EventMapper
from domain.events import Event
from tests.domain.stored_names import upcasts_missing
from tests.support.keys import LEDGER_KEYS, with_mac

STREAM = UUID(int=5)
FRIEND = UUID(int=6)


@dataclass(frozen=True, kw_only=True)
class GiftSent(Event):
    """reason: "" in gifts from before there were reasons."""

    TOPIC: ClassVar[str] = "example.gift_sent"
    class_version: ClassVar[int] = 3

    to_user_id: UUID
    amount_micro: int
    reason: str

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """The amount was whole credits."""
        state["amount_micro"] = state.pop("credits") * 1_000_000

    @staticmethod
    def upcast_v2_v3(state: dict[str, Any]) -> None:
        state["reason"] = ""


MAPPER = EventMapper(LEDGER_KEYS, EventCodec([GiftSent]))


def stored(state: bytes) -> StoredEvent:
    return with_mac(
        StoredEvent(
            originator_id=STREAM, originator_version=4, topic="example.gift_sent", state=state
        )
    )


def gift(amount_micro: int, reason: str) -> GiftSent:
    return GiftSent(
        originator_id=STREAM,
        originator_version=4,
        timestamp=datetime(2026, 3, 1, tzinfo=UTC),
        to_user_id=FRIEND,
        amount_micro=amount_micro,
        reason=reason,
    )


COMMON = f'"timestamp":"2026-03-01T00:00:00Z","to_user_id":"{FRIEND}"'.encode()


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (b"{" + COMMON + b',"credits":7}', gift(7_000_000, "")),
        (b"{" + COMMON + b',"amount_micro":7500000,"class_version":2}', gift(7_500_000, "")),
        (
            b"{" + COMMON + b',"amount_micro":1,"reason":"birthday","class_version":3}',
            gift(1, "birthday"),
        ),
    ],
    ids=["version 1", "version 2", "version 3"],
)
def test_every_form_that_was_stored_is_read_as_the_present_one(
    state: bytes, event: GiftSent
) -> None:
    read = MAPPER.to_domain_event(stored(state))

    assert read == event
    assert type(read) is GiftSent


def test_what_is_written_names_its_version_and_is_read_without_a_change() -> None:
    written = MAPPER.to_stored_event(gift(5, "a bet"))

    assert written.topic == "example.gift_sent"
    assert b'"class_version":3' in written.state
    assert MAPPER.to_domain_event(written) == gift(5, "a bet")


def test_a_text_that_looks_like_a_version_is_a_text() -> None:
    tricky = gift(5, '"class_version":9')
    assert MAPPER.to_domain_event(MAPPER.to_stored_event(tricky)) == tricky


@pytest.mark.parametrize("class_version", [2, 30, 31])
def test_the_present_version_is_not_taken_for_another_one(class_version: int) -> None:
    """Nor in a text, where its quotes are escaped."""
    state = COMMON + b',"amount_micro":1,"reason":"","note":"\\"class_version\\":3,"'
    read = stored(b'{%s,"class_version":%d}' % (state, class_version))
    if class_version == 2:
        assert MAPPER.to_domain_event(read) == gift(1, "")
    else:
        with pytest.raises(MapperDeserialisationError, match=f"of version {class_version} "):
            MAPPER.to_domain_event(read)


class OneStepCodec(EventCodec):
    def upcast(self, topic: str, state: bytes) -> dict[str, Any]:
        raise AssertionError(f"{topic} is looked into twice: {state!r}")


def test_the_present_form_is_read_in_one_step() -> None:
    codec = OneStepCodec([GiftSent])
    written = MAPPER.to_stored_event(gift(5, "a bet"))

    assert EventMapper(LEDGER_KEYS, codec).to_domain_event(written) == gift(5, "a bet")


def test_the_example_says_how_each_older_form_is_read() -> None:
    assert list(upcasts_missing((GiftSent,))) == []


def test_a_form_of_a_newer_service_is_refused_and_not_misread() -> None:
    state = b"{" + COMMON + b',"amount_micro":1,"reason":"x","from":"me","class_version":4}'
    with pytest.raises(MapperDeserialisationError, match="install the newer version"):
        MAPPER.to_domain_event(stored(state))


def test_an_upcast_that_cannot_read_the_old_form_names_the_event() -> None:
    with pytest.raises(MapperDeserialisationError, match=f"version 4 of stream {STREAM}"):
        MAPPER.to_domain_event(stored(b"{" + COMMON + b"}"))
