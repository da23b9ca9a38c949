"""The event-sourced application of `eventsourcing`, with states of ours in the place of its
aggregates."""

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from itertools import takewhile
from typing import Any, ClassVar, cast
from uuid import UUID

from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.persistence import ApplicationRecorder, Mapper

from application.mapping import EventMapper
from application.snapshots import OtherKind, StaleSnapshot, fold
from application.streams import S, StreamKind
from domain.events import Event


class LedgerApplication(Application[UUID]):
    """The table names are this name's: ledger_events, ledger_snapshots."""

    name = "ledger"
    is_snapshotting_enabled = True
    env: ClassVar[dict[str, str]] = {
        "COMPRESSOR_TOPIC": "",
        "AGGREGATE_CACHE_MAXSIZE": "2000",
        # States are immutable: a copy would only cost time.
        "DEEPCOPY_FROM_AGGREGATE_CACHE": "n",
        "CREATE_TABLE": "n",
    }

    def construct_mapper(self) -> Mapper[UUID]:
        return EventMapper()

    def load(self, kind: StreamKind[S], stream_id: UUID) -> S | None:
        """The state as of the last commit; None where there is no such stream of this kind."""
        loaded: Any
        try:
            cached = self._cached(stream_id)
            if cached is None:
                project: Any = partial(fold, kind)
                loaded = self.repository.get(stream_id, projector_func=project)
            else:
                # The repository would do the same under a lock of the stream's, because it moves
                # aggregates forward in place; without a database everybody would queue for it.
                newer = self.events.get(stream_id, gt=cached.version)
                loaded = fold(kind, cached, cast("Iterable[Event]", newer))
        except (AggregateNotFoundError, OtherKind):
            return None
        except StaleSnapshot:
            loaded = self._refold(kind, stream_id)
            if loaded is None:
                return None
        self.remember(loaded)
        return cast("S | None", loaded)

    def load_at(self, kind: StreamKind[S], stream_id: UUID, at: datetime) -> S | None:
        """The state as it was at a time, from its events alone."""
        events = cast("Iterable[Event]", self.events.get(stream_id))
        return fold(kind, None, takewhile(lambda event: event.timestamp <= at, events))

    def _refold(self, kind: StreamKind[S], stream_id: UUID) -> S | None:
        try:
            return fold(kind, None, cast("Iterable[Event]", self.events.get(stream_id)))
        except OtherKind:
            return None

    def _cached(self, stream_id: UUID) -> Any:
        try:
            return self.repository.cache.get(stream_id) if self.repository.cache else None
        except KeyError:
            return None

    def remember(self, state: Any) -> None:
        if self.repository.cache is not None:
            self.repository.cache.put(state.id, state)

    def stored_position(self, event: Event) -> int | None:
        """The position at which exactly this event is stored, or None.

        A connection lost during a commit leaves open whether it happened, and the recorder's
        retry then meets its own rows. Events carry fresh ids, so equal bytes are the same event.
        """
        stored = self.mapper.to_stored_event(event)
        version = event.originator_version
        found = self.recorder.select_events(event.originator_id, gt=version - 1, lte=version)
        if not found or found[0].state != stored.state or found[0].topic != stored.topic:
            return None
        return cast("PositionRecorder", self.recorder).position_of(event.originator_id, version)


class PositionRecorder(ApplicationRecorder):
    """What the application asks of its recorder beyond the library's contract."""

    def position_of(self, originator_id: UUID, originator_version: int) -> int | None:
        raise NotImplementedError
