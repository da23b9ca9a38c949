import asyncio
from uuid import UUID

from infrastructure.log.reader import LoggedEvent
from infrastructure.relay.inbox import Inbox
from infrastructure.relay.messages import MessageCodec, PackedEvents
from tests.support.keys import LEDGER_KEYS

CODEC = MessageCodec(LEDGER_KEYS, stream="test", log=UUID(int=1))


def event(position: int, state: bytes = b"{}") -> LoggedEvent:
    return LoggedEvent(
        position=position,
        topic="account.opened",
        originator_id=UUID(int=position),
        originator_version=1,
        state=state,
    )


def message(*positions: int, previous: int) -> PackedEvents:
    _, data = CODEC.pack([event(p) for p in positions], previous=previous, bytes_max=2**20)
    return CODEC.unpack(data)


def an_inbox(events_max: int = 100) -> Inbox:
    """Of a projector that has read the log."""
    inbox = Inbox(events_max=events_max)
    assert inbox.take(after=0, events_max=10) is None, "what came before is in the log"
    return inbox


def taken(inbox: Inbox, *, after: int, events_max: int = 100) -> list[int] | None:
    events = inbox.take(after=after, events_max=events_max)
    return None if events is None else [event.position for event in events]


def test_messages_that_follow_are_taken_together() -> None:
    inbox = an_inbox()
    inbox.put(message(4, 5, previous=3))
    inbox.put(message(9, previous=5))  # positions have gaps; previous says that nothing is missing
    assert taken(inbox, after=3) == [4, 5, 9]
    assert taken(inbox, after=9) == []


def test_what_was_projected_before_is_passed_over() -> None:
    inbox = an_inbox()
    inbox.put(message(1, 2, previous=0))
    inbox.put(message(2, 3, previous=1))
    inbox.put(message(1, 2, 3, 4, previous=0))
    assert taken(inbox, after=2) == [3, 4]


def test_a_gap_asks_for_the_log_after_what_came_before_it() -> None:
    inbox = an_inbox()
    inbox.put(message(1, previous=0))
    inbox.put(message(5, previous=4))
    assert taken(inbox, after=0) == [1]
    assert taken(inbox, after=1) is None
    # The log was read up to 4, or beyond the message.
    assert taken(inbox, after=4) == [5]


def test_a_message_without_events_asks_for_the_log() -> None:
    large = event(1, state=b"x" * 1000)
    _, body = CODEC.pack([large], previous=0, bytes_max=500)
    packed = CODEC.unpack(body)
    assert packed.events == []
    inbox = an_inbox()
    inbox.put(packed)
    assert taken(inbox, after=0) is None
    assert taken(inbox, after=1) == []


def test_a_full_inbox_asks_for_the_log_and_holds_no_more_than_its_bound() -> None:
    inbox = an_inbox(events_max=3)
    inbox.put(message(1, 2, previous=0))
    inbox.put(message(3, 4, previous=2))
    assert inbox.first is None
    assert taken(inbox, after=0) is None
    inbox.put(message(5, previous=4))
    assert taken(inbox, after=4) == [5]


def test_no_more_is_taken_than_fits_a_batch() -> None:
    inbox = an_inbox()
    for position in range(1, 8):
        inbox.put(message(position, previous=position - 1))
    assert taken(inbox, after=0, events_max=3) == [1, 2, 3]
    assert taken(inbox, after=3, events_max=100) == [4, 5, 6, 7]


def test_a_message_that_cannot_follow_can_be_dropped() -> None:
    inbox = an_inbox()
    inbox.put(message(900, previous=899))
    inbox.put(message(1, previous=0))
    first = inbox.first
    assert taken(inbox, after=0) is None
    inbox.drop(first)
    inbox.drop(first)  # it is not the first any more
    assert taken(inbox, after=0) == [1]


async def test_waiting_ends_with_the_first_message() -> None:
    inbox = an_inbox()
    assert not await inbox.wait(0)
    waiting = asyncio.create_task(inbox.wait(10))
    await asyncio.sleep(0)
    inbox.put(message(1, previous=0))
    assert await waiting
    assert taken(inbox, after=0) == [1]
    assert not await inbox.wait(0)
