"""One attempt of one unit of work, which command handlers are written against."""

from collections.abc import Sequence
from typing import Any, Protocol
from uuid import UUID

from application.ledger.streams import S, StreamKind, StreamState
from domain.events import Event


class States(Protocol):
    def load(self, kind: StreamKind[S], stream_id: UUID) -> S | None: ...


class Touched:
    """state: as the transaction leaves it. added: how many events it has written to the stream."""

    __slots__ = ("added", "kind", "state")

    def __init__(self, kind: StreamKind[Any], state: StreamState | None) -> None:
        self.kind = kind
        # Of the kind's own type, or None where there is nothing yet.
        self.state: Any = state
        self.added = 0


class Transaction:
    """Not shared between threads."""

    __slots__ = ("_states", "_touched", "events")

    def __init__(self, states: States) -> None:
        self._states = states
        # By the integers of their ids, which hash faster than UUIDs.
        self._touched: dict[int, Touched] = {}
        self.events: list[Event] = []

    def load(self, kind: StreamKind[S], stream_id: UUID) -> S | None:
        """The state before this transaction, moved on by what it has added."""
        state: S | None = self._touch(kind, stream_id).state
        return state

    def add(self, kind: StreamKind[Any], *events: Event) -> None:
        for event in events:
            touched = self._touch(kind, event.originator_id)
            touched.kind = kind
            touched.state = kind.evolve(touched.state, event)
            touched.added += 1
            self.events.append(event)

    def add_folded(self, kind: StreamKind[S], events: Sequence[Event], state: S) -> None:
        """Events of one stream, with the state that they lead to."""
        if events:
            touched = self._touch(kind, state.id)
            touched.kind, touched.state = kind, state
            touched.added += len(events)
            self.events += events

    def changed(self) -> list[Touched]:
        """The streams that were written."""
        return [touched for touched in self._touched.values() if touched.added]

    def _touch(self, kind: StreamKind[Any], stream_id: UUID) -> Touched:
        touched = self._touched.get(stream_id.int)
        if touched is None:
            touched = Touched(kind, self._states.load(kind, stream_id))
            self._touched[stream_id.int] = touched
        return touched
