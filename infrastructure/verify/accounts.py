"""Replays every account, event by event, and checks what is true of each."""

import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from eventsourcing.persistence import MapperDeserialisationError

from application.streams import ACCOUNT
from domain.accounts.invariants import evolve_checked
from domain.accounts.state import AccountState
from infrastructure.garbage import collection_paused
from infrastructure.postgres.log_reader import LoggedEvent
from infrastructure.postgres.log_worker import LogWorker
from infrastructure.verify.report import Difference, Findings, PartReport, Progress
from infrastructure.worker_pool import WorkerPool

_ROWS_MAX = 2000
# Accounts are looked at by the first byte of their ids, which are random enough to make these
# shares alike.
_SHARES = 256
_READ = """
SELECT notification_id, topic, originator_id, originator_version, state
FROM ledger.ledger_events
WHERE topic = ANY(%s) AND notification_id <= %s AND originator_id BETWEEN %s AND %s
ORDER BY originator_id, originator_version
"""


@dataclass
class _Checked:
    events: int = 0
    findings: Findings = field(default_factory=Findings)


class _Auditor(LogWorker):
    """Constant memory: the events come account by account."""

    def __init__(self, service_url: str, connect_timeout_s: int) -> None:
        super().__init__(service_url, "chatledger verify", connect_timeout_s)
        self._topics = [event_type.TOPIC for event_type in ACCOUNT.event_types]

    def check(self, share: int, until: int) -> _Checked:
        """Of the accounts whose ids begin with the byte `share`."""
        first, last = UUID(int=share << 120), UUID(int=((share + 1) << 120) - 1)
        checked = _Checked()
        with (
            self.connection.transaction(),
            self.connection.cursor("verify_accounts", binary=True) as cursor,
        ):
            cursor.itersize = _ROWS_MAX
            cursor.execute(_READ, (self._topics, until, first, last))
            with collection_paused():
                self._replay(cursor, checked)
        return checked

    def _replay(self, rows: Any, checked: _Checked) -> None:
        state: AccountState | None = None
        account: UUID | None = None
        broken: UUID | None = None
        for row in rows:
            logged = LoggedEvent(*row)
            checked.events += 1
            if logged.originator_id == broken:
                continue
            if logged.originator_id != account:
                account, state = logged.originator_id, None
            try:
                state = evolve_checked(state, logged.decode())  # type: ignore[arg-type]
            except (AssertionError, MapperDeserialisationError) as error:
                broken = logged.originator_id
                checked.findings.add(_difference(logged, error))


def verify_accounts(
    pool: WorkerPool,
    service_url: str,
    *,
    until: int,
    connect_timeout_s: int,
    on_progress: Progress,
) -> PartReport:
    """until: the last position. Raises psycopg.Error."""
    began = time.monotonic()
    all_checked = _Checked()
    crew = pool.crew("accounts", partial(_Auditor, service_url, connect_timeout_s))
    shares = ((share, until) for share in range(_SHARES))
    for done, checked in enumerate(crew.in_order(_Auditor.check, shares), start=1):
        all_checked.events += checked.events
        all_checked.findings.extend(checked.findings)
        on_progress(done / _SHARES)
    return PartReport(
        name="accounts",
        what="account events",
        checked=all_checked.events,
        seconds=time.monotonic() - began,
        findings=all_checked.findings,
    )


def _difference(logged: LoggedEvent, error: Exception) -> Difference:
    return Difference(
        where="accounts",
        position=logged.position,
        row=str(logged.originator_id),
        text=f"the event at position {logged.position}, version {logged.originator_version} of"
        f" account {logged.originator_id}, breaks a rule: {error}",
    )
