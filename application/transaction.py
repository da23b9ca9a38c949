"""One attempt of one unit of work, which command handlers are written against."""

from typing import Any, Protocol, cast
from uuid import UUID

from application.streams import S, StreamKind, StreamState
from domain.events import Event


class States(Protocol):
    def load(self, kind: StreamKind[S], stream_id: UUID) -> S | None: ...


class Transaction:
    """Not shared between threads."""

    def __init__(self, states: States) -> None:
        self._source = states
        self._states: dict[UUID, tuple[StreamKind[Any], StreamState]] = {}
        self.events: list[Event] = []

    def load(self, kind: StreamKind[S], stream_id: UUID) -> S | None:
        """The state before this transaction, moved on by what it has added."""
        known = self._states.get(stream_id)
        if known is not None:
            return cast("S", known[1])
        state = self._source.load(kind, stream_id)
        if state is not None:
            self._states[stream_id] = (kind, state)
        return state

    def add(self, kind: StreamKind[Any], *events: Event) -> None:
        for event in events:
            stream_id = event.originator_id
            known = self._states.get(stream_id)
            state = self.load(kind, stream_id) if known is None else known[1]
            self._states[stream_id] = (kind, kind.evolve(state, event))
            self.events.append(event)

    def changed(self) -> list[tuple[StreamKind[Any], StreamState, int]]:
        """Kind, state and number of added events of every stream that was written."""
        added: dict[UUID, int] = {}
        for event in self.events:
            added[event.originator_id] = added.get(event.originator_id, 0) + 1
        return [(*self._states[stream_id], count) for stream_id, count in added.items()]
