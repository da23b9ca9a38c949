"""`eventsourcing`'s application of the ledger: its repository, mapper, recorders and snapshots."""

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from itertools import takewhile
from typing import Any, ClassVar, cast
from uuid import UUID

from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.persistence import Mapper
from eventsourcing.utils import EnvType

from application.commits import CommitRecorder
from application.ledger_keys import LedgerKeys
from application.mapping import EventMapper
from application.snapshots import OtherKind, StaleSnapshot, fold
from application.streams import S, StreamKind
from domain.events import Event


class LedgerApplication(Application[UUID]):
    """The table names are this name's: ledger_events, ledger_snapshots. Its methods block, so
    they are called in threads."""

    name = "ledger"
    is_snapshotting_enabled = True
    # No cache of the library's: the ledger has its own, which knows what is not yet committed.
    env: ClassVar[dict[str, str]] = {"COMPRESSOR_TOPIC": "", "CREATE_TABLE": "n"}

    def __init__(
        self, env: EnvType | None = None, *, keys: LedgerKeys, cached_streams_max: int
    ) -> None:
        """cached_streams_max: folded states that the ledger keeps in memory."""
        self._keys = keys
        super().__init__(env)
        self.cached_streams_max = cached_streams_max

    def construct_mapper(self) -> Mapper[UUID]:
        return EventMapper()

    @property
    def commit_recorder(self) -> CommitRecorder:
        return cast("CommitRecorder", self.recorder)

    def load(self, kind: StreamKind[S], stream_id: UUID, known: S | None = None) -> S | None:
        """The state as of the last commit; None where there is no such stream of this kind.

        known: an earlier state of it, so that only later events are read.
        """
        if known is not None:
            later = cast("Iterable[Event]", self.events.get(stream_id, gt=known.version))
            return fold(kind, known, later)
        project: Any = partial(fold, kind)
        try:
            loaded: Any = self.repository.get(stream_id, projector_func=project)
        except (AggregateNotFoundError, OtherKind):
            return None
        except StaleSnapshot:
            return self._refold(kind, stream_id)
        return cast("S", loaded)

    def load_at(self, kind: StreamKind[S], stream_id: UUID, at: datetime) -> S | None:
        """The state as it was at a time, from its events alone."""
        events = cast("Iterable[Event]", self.events.get(stream_id))
        return fold(kind, None, takewhile(lambda event: event.timestamp <= at, events))

    def _refold(self, kind: StreamKind[S], stream_id: UUID) -> S | None:
        try:
            return fold(kind, None, cast("Iterable[Event]", self.events.get(stream_id)))
        except OtherKind:
            return None
