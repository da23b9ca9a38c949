"""A folded state kept beside the events, so that loading a long stream stays fast."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import msgspec
from eventsourcing.domain import DomainEvent

from application.ledger.event_macs import VersionMissing
from application.ledger.streams import S, StreamKind
from domain.events import Event


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


def restored(kind: StreamKind[S], snapshot: StateSnapshot) -> S | None:
    """The state that it was taken of; None where its kind or its fields are not today's."""
    if (snapshot.kind, snapshot.state_version) != (kind.name, kind.state_version):
        return None
    return msgspec.convert(snapshot.state, kind.state_type)


def fold(kind: StreamKind[S], state: S | None, events: Iterable[Event]) -> S | None:
    """Raises OtherKind, VersionMissing."""
    if state is not None and not isinstance(state, kind.state_type):
        raise OtherKind
    version = 0 if state is None else state.version
    for event in events:
        if not isinstance(event, kind.event_types):
            raise OtherKind
        version += 1
        if event.originator_version != version:
            raise VersionMissing(
                event.originator_id,
                version,
                f"is missing: the next one in the log is version {event.originator_version}",
            )
        state = kind.evolve(state, event)
    return state
