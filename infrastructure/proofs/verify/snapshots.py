"""Compares each stored snapshot with the state that its stream's events lead to."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg
from eventsourcing.persistence import MapperDeserialisationError

from application.ledger.event_macs import StateMacs
from application.ledger.mapping import CODEC
from application.ledger.snapshots import StateSnapshot, restored
from application.ledger.streams import StreamKind
from infrastructure.log.reader import LoggedEvent
from infrastructure.proofs.verify.report import Difference, Findings, PartReport

_POSITION = """
SELECT notification_id FROM ledger.ledger_events
WHERE originator_id = %s AND originator_version = %s
"""


class StoredSnapshot(NamedTuple):
    stream_id: UUID
    version: int
    topic: str
    state: bytes


@dataclass
class SnapshotsChecked:
    """unproven: snapshots that agree but are not used, because they carry no valid MAC."""

    count: int = 0
    unproven: int = 0
    findings: Findings = field(default_factory=Findings)

    def merge(self, other: "SnapshotsChecked") -> None:
        self.count += other.count
        self.unproven += other.unproven
        self.findings.merge(other.findings)

    def report(self, seconds: float) -> PartReport:
        note = (
            f"{self.unproven} agree with their events and are not used, because they carry no MAC"
            " of this ledger; later ones take their place"
        )
        return PartReport(
            name="snapshots",
            what="snapshots",
            checked=self.count,
            seconds=seconds,
            findings=self.findings,
            notes=(note,) if self.unproven else (),
        )


class SnapshotWalk:
    """Goes through the snapshots beside a walk through the events, both by stream id and version.

    until: the last position of that walk. connection: for queries during the walk.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        snapshots: Iterator[StoredSnapshot],
        macs: StateMacs,
        *,
        until: int,
    ) -> None:
        self._connection = connection
        self._snapshots = snapshots
        self._macs = macs
        self._until = until
        self._next = next(snapshots, None)
        self.checked = SnapshotsChecked()

    def at(self, logged: LoggedEvent, kind: StreamKind[Any] | None, state: Any) -> None:
        """Call it after each event. kind: None if the stream cannot be folded."""
        here = (logged.originator_id, logged.originator_version)
        while self._next is not None and (self._next.stream_id, self._next.version) <= here:
            found = self._take(self._next)
            if (found.stream_id, found.version) != here:
                self._check_event_exists(found)
            elif kind is not None:
                self._compare(found, kind, state, logged.position)

    def end(self) -> SnapshotsChecked:
        while self._next is not None:
            self._check_event_exists(self._take(self._next))
        return self.checked

    def _take(self, found: StoredSnapshot) -> StoredSnapshot:
        self._next = next(self._snapshots, None)
        self.checked.count += 1
        return found

    def _check_event_exists(self, found: StoredSnapshot) -> None:
        row = self._connection.execute(_POSITION, (found.stream_id, found.version)).fetchone()
        if row is None or row[0] <= self._until:
            self._differs(found, None, "belongs to no event")

    def _compare(
        self, found: StoredSnapshot, kind: StreamKind[Any], state: Any, position: int
    ) -> None:
        try:
            snapshot = CODEC.decode(
                topic=found.topic,
                originator_id=found.stream_id,
                originator_version=found.version,
                state=found.state,
            )
            same_kind = isinstance(snapshot, StateSnapshot) and snapshot.kind == kind.name
            if not same_kind:
                self._differs(found, position, f"is not of the kind of its stream, {kind.name}")
                return
            kept = restored(kind, snapshot)
        except (MapperDeserialisationError, msgspec.MsgspecError) as error:
            self._differs(found, position, f"cannot be read: {error}")
            return
        doubt = self._macs.doubt(found.stream_id.bytes, found.version, found.topic, found.state)
        if kept == state:
            self.checked.unproven += doubt is not None
        elif kept is not None:
            names = ", ".join(
                each.name
                for each in fields(state)
                if getattr(state, each.name) != getattr(kept, each.name)
            )
            used = "" if doubt is None else f"; it {doubt}, so it is not used"
            self._differs(found, position, f"is not what its events lead to, in {names}{used}")

    def _differs(self, found: StoredSnapshot, position: int | None, what: str) -> None:
        self.checked.findings.insert(
            Difference(
                where="snapshots",
                position=position,
                row=str(found.stream_id),
                text=f"the snapshot of version {found.version} of stream {found.stream_id} {what}",
            )
        )
