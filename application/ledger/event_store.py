"""`eventsourcing`'s application of the ledger: its repository, mapper, recorders and snapshots."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any, ClassVar, TypeVar, cast
from uuid import UUID

import structlog
from eventsourcing.application import Application
from eventsourcing.persistence import Mapper
from eventsourcing.utils import EnvType

from application.ledger.commits import CommitRecorder
from application.ledger.event_macs import EventNotAuthentic, StreamDamaged
from application.ledger.keys import LedgerKeys
from application.ledger.mapping import EventMapper
from application.ledger.snapshots import OtherKind, StateSnapshot, fold, restored
from application.ledger.streams import S, StreamKind
from domain.events import Event

log = structlog.get_logger()

E = TypeVar("E", bound=Event)

# Read at once when a stream is searched.
PAGE_EVENTS = 500

# A snapshot may be forged. After this many, the stream is folded from its events instead.
_SNAPSHOTS_TRIED_MAX = 3
# Streams of which the log has said that their snapshot is not used; it says so once for each.
_TOLD_MAX = 1000


class LedgerApplication(Application[UUID]):
    """The table names are this name's: ledger_events, ledger_snapshots. Its methods block, so
    they are called in threads."""

    name = "ledger"
    is_snapshotting_enabled = True
    # The library's cache stays off: the ledger's own also knows what is not committed yet.
    env: ClassVar[dict[str, str]] = {"COMPRESSOR_TOPIC": "", "CREATE_TABLE": "n"}

    def __init__(
        self, env: EnvType | None = None, *, keys: LedgerKeys, cached_streams_max: int
    ) -> None:
        """cached_streams_max: folded states that the ledger keeps in memory."""
        self._keys = keys
        self._told: set[UUID] = set()
        super().__init__(env)
        self.cached_streams_max = cached_streams_max

    def construct_mapper(self) -> Mapper[UUID]:
        return EventMapper(self._keys)

    @property
    def commit_recorder(self) -> CommitRecorder:
        return cast("CommitRecorder", self.recorder)

    def load(self, kind: StreamKind[S], stream_id: UUID, known: S | None = None) -> S | None:
        """The state as of the last commit; None where there is no such stream of this kind.

        known: an earlier state of it, so that only later events are read.
        Raises StreamDamaged.
        """
        if known is not None:
            return self._fold(kind, known, self.events.get(stream_id, gt=known.version))
        kept = self._from_snapshot(kind, stream_id)
        after = None if kept is None else kept.version
        try:
            return self._fold(kind, kept, self.events.get(stream_id, gt=after))
        except OtherKind:
            return None

    def load_at(self, kind: StreamKind[S], stream_id: UUID, at: datetime) -> S | None:
        """The state as it was at a time, from its events alone. Raises StreamDamaged."""
        events = cast("Iterable[Event]", self.events.get(stream_id))
        return self._fold(kind, None, takewhile(lambda event: event.timestamp <= at, events))

    def newest(
        self, stream_id: UUID, event_types: Sequence[type[E]], matches: Callable[[E], bool]
    ) -> E | None:
        """The newest event of these types that matches. The stream is read from its end, page by
        page, and only events of the types are decoded and have to prove themselves.

        Raises StreamDamaged.
        """
        topics = {event_type.TOPIC for event_type in event_types}
        before: int | None = None
        while True:
            page = self.recorder.select_events(stream_id, lte=before, desc=True, limit=PAGE_EVENTS)
            of_types = (stored for stored in page if stored.topic in topics)
            try:
                for event in map(self.mapper.to_domain_event, of_types):
                    if matches(cast("E", event)):
                        return cast("E", event)
            except EventNotAuthentic as error:
                raise self._with_position(error) from None
            if len(page) < PAGE_EVENTS:
                return None
            before = page[-1].originator_version - 1

    def _fold(self, kind: StreamKind[S], state: S | None, events: Iterable[Any]) -> S | None:
        try:
            return fold(kind, state, events)
        except EventNotAuthentic as error:
            raise self._with_position(error) from None

    def _with_position(self, error: EventNotAuthentic) -> StreamDamaged:
        stream_id = cast("UUID", error.stream_id)
        return error.at(self.commit_recorder.position_of(stream_id, error.version))

    def _from_snapshot(self, kind: StreamKind[S], stream_id: UUID) -> S | None:
        """The state in the newest snapshot that proves itself. One that does not was written by
        somebody else, or before snapshots had MACs, and is skipped."""
        assert self.snapshots is not None
        before: int | None = None
        for _ in range(_SNAPSHOTS_TRIED_MAX):
            try:
                found = next(
                    iter(self.snapshots.get(stream_id, lte=before, desc=True, limit=1)), None
                )
            except EventNotAuthentic as error:
                self._tell(stream_id, error)
                before = error.version - 1
                continue
            return restored(kind, found) if isinstance(found, StateSnapshot) else None
        return None

    def _tell(self, stream_id: UUID, error: EventNotAuthentic) -> None:
        if stream_id not in self._told and len(self._told) < _TOLD_MAX:
            self._told.add(stream_id)
            log.warning(
                "snapshot_not_used",
                stream_id=str(stream_id),
                version=error.version,
                reason=f"it {error.what}",
            )
