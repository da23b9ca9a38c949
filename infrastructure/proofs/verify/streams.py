"""Folds every stream from its beginning. Checks that the ledger wrote each event, that the events
follow the rules, that no debit was refunded twice or for more than it was, and that each snapshot
is what the events lead to."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast
from uuid import UUID

from eventsourcing.persistence import MapperDeserialisationError

from application.ledger.event_macs import StateMacs, event_macs, snapshot_macs
from application.ledger.keys import LedgerKeys
from application.ledger.snapshots import OtherKind, fold
from application.ledger.streams import ACCOUNT, ALL_KINDS, StreamKind
from domain.accounts.events import AccountEvent, CreditsDebited, DebitRefunded
from domain.accounts.invariants import evolve_checked
from domain.accounts.refunds import check_refund
from infrastructure.log.reader import LoggedEvent
from infrastructure.log.workers import LogWorker, WorkerPool
from infrastructure.process.garbage import collection_paused
from infrastructure.proofs.verify.report import Difference, Findings, PartReport, Progress
from infrastructure.proofs.verify.snapshots import SnapshotsChecked, SnapshotWalk, StoredSnapshot

_ROWS_MAX = 2000
_SNAPSHOTS_MAX = 20
# Debits and refunds that are read at once.
CHARGES_READ = 500
# Streams are divided by the first byte of their ids, which are random enough for equal shares.
_SHARES = 256
_READ = """
SELECT notification_id, topic, originator_id, originator_version, state
FROM ledger.events_with_macs
WHERE notification_id <= %s AND originator_id BETWEEN %s AND %s
ORDER BY originator_id, originator_version
"""
_READ_SNAPSHOTS = """
SELECT originator_id, originator_version, topic, state FROM ledger.ledger_snapshots
WHERE originator_id BETWEEN %s AND %s
ORDER BY originator_id, originator_version
"""
# From the end, because a refund mostly comes soon after its debit. So nothing needs to be kept of
# the debits that are never refunded, which are nearly all.
_READ_CHARGES = """
SELECT notification_id, topic, originator_id, originator_version, state
FROM ledger.ledger_events
WHERE originator_id = %s AND originator_version < %s AND topic = ANY(%s)
ORDER BY originator_version DESC LIMIT %s
"""
_CHARGE_TOPICS = [CreditsDebited.TOPIC, DebitRefunded.TOPIC]
_KINDS: dict[str, StreamKind[Any]] = {
    event_type.TOPIC: kind for kind in ALL_KINDS for event_type in kind.event_types
}


@dataclass
class _Checked:
    """The result of a share. account_events: how many of the events are of accounts."""

    events: int = 0
    account_events: int = 0
    macs: Findings = field(default_factory=Findings)
    accounts: Findings = field(default_factory=Findings)
    streams: Findings = field(default_factory=Findings)
    snapshots: SnapshotsChecked = field(default_factory=SnapshotsChecked)

    def merge(self, other: "_Checked") -> None:
        self.events += other.events
        self.account_events += other.account_events
        self.macs.merge(other.macs)
        self.accounts.merge(other.accounts)
        self.streams.merge(other.streams)
        self.snapshots.merge(other.snapshots)


class _Auditor(LogWorker):
    """Uses constant memory, because events and snapshots are read stream by stream."""

    def __init__(
        self,
        service_url: str,
        of_events: StateMacs,
        of_snapshots: StateMacs,
        connect_timeout_s: int,
    ) -> None:
        super().__init__(service_url, "chatledger verify", connect_timeout_s)
        self._macs = of_events
        self._snapshot_macs = of_snapshots

    def check(self, share: int, until: int) -> _Checked:
        """Check the streams whose ids begin with the byte `share`."""
        first, last = UUID(int=share << 120), UUID(int=((share + 1) << 120) - 1)
        checked = _Checked()
        with (
            self.connection.transaction(),
            self.connection.cursor("verify_events", binary=True) as events,
            self.connection.cursor("verify_snapshots", binary=True) as snapshots,
        ):
            events.itersize, snapshots.itersize = _ROWS_MAX, _SNAPSHOTS_MAX
            events.execute(_READ, (until, first, last))
            # After the events, so that no snapshot seems to belong to an event that is not there.
            snapshots.execute(_READ_SNAPSHOTS, (first, last))
            walk = SnapshotWalk(
                self.connection,
                (StoredSnapshot(*row) for row in snapshots),
                self._snapshot_macs,
                until=until,
            )
            with collection_paused():
                self._fold(events, checked, walk)
            checked.snapshots = walk.end()
        return checked

    def _fold(self, rows: Any, checked: _Checked, snapshots: SnapshotWalk) -> None:
        stream: UUID | None = None
        kind: StreamKind[Any] | None = None
        state: Any = None
        for row in rows:
            logged = LoggedEvent(*row)
            checked.events += 1
            checked.account_events += _KINDS.get(logged.topic) is ACCOUNT
            if logged.originator_id != stream:
                stream, state = logged.originator_id, None
                kind = _KINDS.get(logged.topic)
            doubt = self._macs.doubt(
                logged.originator_id.bytes, logged.originator_version, logged.topic, logged.state
            )
            if doubt is not None:
                # The events behind it cannot be folded, but their MACs can be checked.
                kind = None
                checked.macs.insert(_not_written(logged, doubt))
            if kind is not None:
                try:
                    state = _evolve(kind, state, logged)
                except (AssertionError, MapperDeserialisationError, OtherKind) as error:
                    found = checked.accounts if kind is ACCOUNT else checked.streams
                    found.insert(_breaks_a_rule(kind, logged, error))
                    kind = None
            if kind is ACCOUNT and logged.topic == DebitRefunded.TOPIC:
                try:
                    self._check_refund(logged)
                except AssertionError as error:
                    checked.accounts.insert(_breaks_a_rule(kind, logged, error))
            snapshots.at(logged, kind, state)

    def _check_refund(self, logged: LoggedEvent) -> None:
        """Raises AssertionError. The events before it in its stream are known to be readable."""
        refunded = cast("DebitRefunded", logged.decode_unproven())
        before, full = logged.originator_version, True
        while full:
            rows = self.connection.execute(
                _READ_CHARGES, (logged.originator_id, before, _CHARGE_TOPICS, CHARGES_READ)
            ).fetchall()
            for row in rows:
                charge = cast("CreditsDebited | DebitRefunded", LoggedEvent(*row).decode_unproven())
                if charge.message_id == refunded.message_id:
                    check_refund(refunded, charge)
                    return
                before = charge.originator_version
            full = len(rows) == CHARGES_READ
        check_refund(refunded, None)


def _evolve(kind: StreamKind[Any], state: Any, logged: LoggedEvent) -> Any:
    event = logged.decode_unproven()
    if not isinstance(event, kind.event_types):
        raise OtherKind(f"it is no event of the kind of its stream, {kind.name}")
    if kind is ACCOUNT:
        return evolve_checked(state, cast("AccountEvent", event))
    return fold(kind, state, (event,))


def verify_streams(
    pool: WorkerPool,
    service_url: str,
    keys: LedgerKeys,
    *,
    until: int,
    connect_timeout_s: int,
    on_progress: Progress,
) -> list[PartReport]:
    """One report each for MACs, accounts, other streams and snapshots. until: the last position.
    Raises psycopg.Error."""
    began = time.monotonic()
    checked = _Checked()
    begin = partial(_Auditor, service_url, event_macs(keys), snapshot_macs(keys), connect_timeout_s)
    crew = pool.crew("streams", begin)
    shares: Iterator[tuple[int, int]] = ((share, until) for share in range(_SHARES))
    for done, part in enumerate(crew.in_order(_Auditor.check, shares), start=1):
        checked.merge(part)
        on_progress(done / _SHARES)
    seconds = time.monotonic() - began
    others = checked.events - checked.account_events
    return [
        PartReport(name=name, what=what, checked=count, seconds=seconds, findings=found)
        for name, what, count, found in (
            ("MACs", "events", checked.events, checked.macs),
            ("accounts", "account events", checked.account_events, checked.accounts),
            ("other streams", "events of all others", others, checked.streams),
        )
    ] + [checked.snapshots.report(seconds)]


def _not_written(logged: LoggedEvent, doubt: str) -> Difference:
    return Difference(
        where="MACs",
        position=logged.position,
        row=str(logged.originator_id),
        text=f"the event at position {logged.position}, version {logged.originator_version} of"
        f" stream {logged.originator_id}, was not written by this ledger: it {doubt}",
    )


def _breaks_a_rule(kind: StreamKind[Any], logged: LoggedEvent, error: Exception) -> Difference:
    return Difference(
        where="accounts" if kind is ACCOUNT else "other streams",
        position=logged.position,
        row=str(logged.originator_id),
        text=f"the event at position {logged.position}, version {logged.originator_version} of"
        f" {kind.name} {logged.originator_id}, breaks a rule: {error}",
    )
