"""Messages that were received and are not projected yet."""

import asyncio
from collections import deque

from infrastructure.log.reader import LoggedEvent
from infrastructure.relay.messages import PackedEvents


class Inbox:
    """Bounded. When it is full everything in it is dropped: PostgreSQL has all of it, and reading
    it there in bulk is faster."""

    def __init__(self, *, events_max: int) -> None:
        self._events_max = events_max
        self._messages: deque[PackedEvents] = deque()
        self._events = 0
        self._arrived = asyncio.Event()
        self._missed = True

    def put(self, message: PackedEvents) -> None:
        if self._events + len(message.events) > self._events_max:
            self.miss()
            return
        self._messages.append(message)
        self._events += len(message.events)
        self._arrived.set()

    def miss(self) -> None:
        """Something may have been missed: the log has to be read."""
        self._messages.clear()
        self._events = 0
        self._missed = True
        self._arrived.set()

    def take(self, *, after: int, events_max: int) -> list[LoggedEvent] | None:
        """The events that follow position `after` without a gap. None where there is a gap: then
        the log has to be read before anything more is taken."""
        if self._missed:
            self._missed = False
            return None
        taken: list[LoggedEvent] = []
        while self._messages and len(taken) < events_max:
            message = self._messages[0]
            if message.last > after:
                if message.previous > after or not message.events:
                    # The message stays; when the log has been read, it is skipped.
                    return taken or None
                taken += (event for event in message.events if event.position > after)
                after = message.last
            self._messages.popleft()
            self._events -= len(message.events)
        if not self._messages:
            self._arrived.clear()
        return taken

    @property
    def first(self) -> PackedEvents | None:
        return self._messages[0] if self._messages else None

    def drop(self, message: PackedEvents | None) -> None:
        """Remove the message if it is still the first."""
        if message is not None and self.first is message:
            self._messages.popleft()
            self._events -= len(message.events)

    async def wait(self, timeout_s: float) -> bool:
        """True as soon as there is something to take; False when nothing came in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._arrived.wait()
        except TimeoutError:
            return False
        return True
