"""Server-sent events, cut into chunks anywhere."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interfaces.ui.client.sse import EventParser, EventTooLong, ServerEvent

STREAM = (
    ": a comment\n"
    'event: started\nid: 41\ndata: {"held": 2}\n\n'
    'event: delta\r\ndata: {"text": "a\u2028b\x85 é🙂"}\r\n\r\n'
    "event: nothing\n\n"
    "data: two\rdata: lines\r\r"
    "data: never finished"
).encode()
EVENTS = [
    ServerEvent(name="started", data='{"held": 2}', id="41"),
    ServerEvent(name="delta", data='{"text": "a\u2028b\x85 é🙂"}'),
    ServerEvent(name="message", data="two\nlines"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_the_events_are_the_same_wherever_the_stream_is_cut(cuts: list[int]) -> None:
    parser = EventParser()
    events: list[ServerEvent] = []
    edges = [0, *sorted(cuts), len(STREAM)]
    for start, end in pairwise(edges):
        events += parser.feed(STREAM[start:end])
    assert events == EVENTS


@pytest.mark.parametrize("flood", [b"data: " + b"x" * 200, b"data: xxxxxxxxxx\n" * 20])
def test_an_event_without_end_is_refused(flood: bytes) -> None:
    with pytest.raises(EventTooLong):
        EventParser(event_bytes_max=100).feed(flood)


def test_many_short_events_are_not_one_long_event() -> None:
    assert len(EventParser(event_bytes_max=100).feed(b"data: x\n\n" * 1000)) == 1000
