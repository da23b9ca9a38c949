"""A folded state kept beside the events, so that loading a long stream stays fast."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import msgspec
from eventsourcing.domain import DomainEvent

from application.streams import S, StreamKind
from domain.events import Event


class StaleSnapshot(Exception):
    """The snapshot was taken of another form of the state; the stream is folded anew."""


class OtherKind(Exception):
    """The stream holds events of another kind: somebody has sent the id of something else."""


@dataclass(frozen=True, kw_only=True)
class StateSnapshot(DomainEvent):
    """Never part of the log: it lives in a table of its own and can be thrown away."""

    TOPIC: ClassVar[str] = "snapshot"

    kind: str
    state_version: int
    state: dict[str, Any]


def take_snapshot(kind: StreamKind[S], state: S, now: datetime) -> StateSnapshot:
    return StateSnapshot(
        originator_id=state.id,
        originator_version=state.version,
        timestamp=now,
        kind=kind.name,
        state_version=kind.state_version,
        state=msgspec.to_builtins(state),
    )


def fold(kind: StreamKind[S], state: S | None, events: Iterable[Event | StateSnapshot]) -> S | None:
    """Raises StaleSnapshot, OtherKind."""
    if state is not None and not isinstance(state, kind.state_type):
        raise OtherKind
    for event in events:
        if isinstance(event, StateSnapshot):
            if (event.kind, event.state_version) != (kind.name, kind.state_version):
                raise StaleSnapshot
            state = msgspec.convert(event.state, kind.state_type)
        elif isinstance(event, kind.event_types):
            state = kind.evolve(state, event)
        else:
            raise OtherKind
    return state
