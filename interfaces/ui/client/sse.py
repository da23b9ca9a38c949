"""Server-sent events, read from bytes as the WHATWG's HTML standard (section 9.2) says.

Lines end at CR, LF or CRLF and nowhere else: splitting with ``str.splitlines`` would also cut at
U+2028 and its kin, which may stand inside JSON text.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

EVENT_BYTES_MAX = 4_000_000


@dataclass(frozen=True, kw_only=True)
class ServerEvent:
    """One dispatched event; ``data`` is the joined data lines, ``id`` is empty where none came."""

    name: str
    data: str
    id: str = ""


class EventTooLong(Exception):
    """One event is longer than ``EVENT_BYTES_MAX``."""


class EventParser:
    """Turns chunks of bytes, cut anywhere, into events."""

    def __init__(self, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._bytes_max = event_bytes_max
        self._rest = b""
        self._name = ""
        self._id = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """The events that end in this chunk. Raises EventTooLong."""
        buffer = self._rest + chunk
        events: list[ServerEvent] = []
        start = 0
        while True:
            line_end = _line_end(buffer, start)
            if line_end is None:
                break
            end, following = line_end
            event = self._line(buffer[start:end].decode("utf-8", "replace"))
            if event is not None:
                events.append(event)
            start = following
        self._rest = buffer[start:]
        if self._size + len(self._rest) > self._bytes_max:
            raise EventTooLong
        return events

    def _line(self, line: str) -> ServerEvent | None:
        if not line:
            name, data = self._name or "message", "\n".join(self._data)
            event = ServerEvent(name=name, data=data, id=self._id)
            has_data = bool(self._data)
            self._name, self._id, self._data, self._size = "", "", [], 0
            return event if has_data else None
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "id":
            self._id = value
        elif field == "data":
            self._data.append(value)
            self._size += len(value)
            if self._size > self._bytes_max:
                raise EventTooLong
        return None


def _line_end(buffer: bytes, start: int) -> tuple[int, int] | None:
    """Where the line from ``start`` ends and the next begins; None while that is unknown."""
    line_feed = buffer.find(b"\n", start)
    carriage = buffer.find(b"\r", start, line_feed if line_feed >= 0 else len(buffer))
    if carriage < 0:
        return None if line_feed < 0 else (line_feed, line_feed + 1)
    if carriage + 1 == len(buffer):
        return None  # A line feed may follow in the next chunk and belongs to this line end.
    return carriage, carriage + (2 if buffer[carriage + 1 : carriage + 2] == b"\n" else 1)


async def server_events(chunks: AsyncIterator[bytes]) -> AsyncIterator[ServerEvent]:
    """Events of a response body, as they arrive. An unfinished last event is dropped."""
    parser = EventParser()
    async for chunk in chunks:
        for event in parser.feed(chunk):
            yield event
