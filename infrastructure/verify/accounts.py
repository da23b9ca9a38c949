"""Replays every account, event by event, and checks what is true of each."""

import time
from typing import Any
from uuid import UUID

from eventsourcing.persistence import MapperDeserialisationError
from psycopg import Connection

from application.streams import ACCOUNT
from domain.accounts.invariants import evolve_checked
from domain.accounts.state import AccountState
from infrastructure.postgres.log_reader import LoggedEvent
from infrastructure.verify.report import Difference, Findings, PartReport, Progress

_ROWS_MAX = 2000
_PROGRESS_EVERY = 20_000


def verify_accounts(
    connection: Connection[Any], *, until: int, on_progress: Progress
) -> PartReport:
    """Constant memory: the events come account by account. until: the last position."""
    began = time.monotonic()
    findings = Findings()
    topics = [event_type.TOPIC for event_type in ACCOUNT.event_types]
    state: AccountState | None = None
    account: UUID | None = None
    broken: UUID | None = None
    checked = 0
    with connection.transaction(), connection.cursor("verify_accounts", binary=True) as cursor:
        cursor.itersize = _ROWS_MAX
        cursor.execute(
            "SELECT notification_id, topic, originator_id, originator_version, state"
            " FROM ledger.ledger_events WHERE topic = ANY(%s) AND notification_id <= %s"
            " ORDER BY originator_id, originator_version",
            (topics, until),
        )
        for row in cursor:
            logged = LoggedEvent(*row)
            checked += 1
            if checked % _PROGRESS_EVERY == 0:
                # Ids are random enough to tell how far the order by them has come.
                on_progress(logged.originator_id.int / 2**128)
            if logged.originator_id == broken:
                continue
            if logged.originator_id != account:
                account, state = logged.originator_id, None
            try:
                state = evolve_checked(state, logged.decode())  # type: ignore[arg-type]
            except (AssertionError, MapperDeserialisationError) as error:
                broken = logged.originator_id
                findings.add(_difference(logged, error))
    on_progress(1.0)
    return PartReport(
        name="accounts",
        what="account events",
        checked=checked,
        seconds=time.monotonic() - began,
        findings=findings,
    )


def _difference(logged: LoggedEvent, error: Exception) -> Difference:
    return Difference(
        where="accounts",
        position=logged.position,
        row=str(logged.originator_id),
        text=f"the event at position {logged.position}, version {logged.originator_version} of"
        f" account {logged.originator_id}, breaks a rule: {error}",
    )
