"""Checks before the log is used: whether its events carry MACs, and whether our keys prove them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from application.ledger.event_macs import StateMacs

FIRST_EVENT = """
SELECT originator_id, originator_version, topic, state FROM ledger.events_with_macs
ORDER BY notification_id LIMIT 1
"""

_IS_OLD = "SELECT EXISTS (SELECT FROM ledger.ledger_events)"
_OTHERS = """
SELECT count(*), string_agg(DISTINCT nullif(application_name, ''), ', ') FROM pg_stat_activity
WHERE datname = current_database() AND usename = %s AND pid <> pg_backend_pid()
"""


class LogUnsealed(Exception):
    """The text says what to do."""


class OtherKeys(Exception):
    """The text says what to do."""


@dataclass(frozen=True, kw_only=True)
class LogState:
    """before_macs: the position of the last event that was written without a MAC, 0 for none."""

    is_empty: bool
    before_macs: int
    is_sealed: bool
    has_checkpoints: bool

    @property
    def needs_sealing(self) -> bool:
        return self.before_macs > 0 and not self.is_sealed

    def check(self) -> None:
        """Raises LogUnsealed."""
        if self.needs_sealing:
            raise unsealed(f"the log up to position {self.before_macs}")


def unsealed(what: str) -> LogUnsealed:
    return LogUnsealed(
        f"{what} is from before events were authenticated; stop every process of the earlier"
        " version, and run `chatledger audit seal` once, which checks it and seals it"
    )


def is_from_before_macs(connection: psycopg.Connection[Any]) -> bool:
    """Whether there are events under a schema without MACs. An earlier version of the service may
    still be writing there; events that it adds after the schema has MACs would never be sealed."""
    known = connection.execute(
        "SELECT to_regclass('ledger.ledger_events'), to_regclass('ledger.before_macs')"
    ).fetchone()
    if known is None or known[0] is None or known[1] is not None:
        return False
    return connection.execute(_IS_OLD).fetchone() == (True,)


def check_nobody_writes(connection: psycopg.Connection[Any], service_role: str) -> None:
    """Raises LogUnsealed."""
    row = connection.execute(_OTHERS, (service_role,)).fetchone()
    assert row is not None, "an aggregate has one row"
    count, names = row
    if count:
        raise LogUnsealed(
            f"{count} connections of {service_role} are open ({names}): what they add while the log"
            " is sealed would never be accepted; stop every process of the service, and run"
            " `chatledger audit seal` again"
        )


def read_log_state(connection: psycopg.Connection[Any]) -> LogState:
    row = connection.execute(
        "SELECT NOT EXISTS (SELECT FROM ledger.ledger_events), position,"
        " EXISTS (SELECT FROM ledger.seals), EXISTS (SELECT FROM ledger.checkpoints)"
        " FROM ledger.before_macs"
    ).fetchone()
    assert row is not None, "the migration has put it there"
    return LogState(is_empty=row[0], before_macs=row[1], is_sealed=row[2], has_checkpoints=row[3])


def check_first_event(connection: psycopg.Connection[Any], macs: StateMacs) -> None:
    """Check that these are the keys of this log; with others, nothing in it would be believed.

    Raises OtherKeys.
    """
    row = connection.execute(FIRST_EVENT).fetchone()
    if row is not None and (found := other_keys(row, macs)) is not None:
        raise OtherKeys(found)


def other_keys(first_event: Sequence[Any], macs: StateMacs) -> str | None:
    """What is wrong with the keys; None where they are those of the log. first_event: a row of
    FIRST_EVENT."""
    stream_id, version, topic, state = first_event
    doubt = macs.doubt(stream_id.bytes, version, topic, bytes(state))
    if doubt is None:
        return None
    return (
        f"the file of ledger keys is not that of this log: its first event {doubt}; bring back the"
        " file that belongs to it, or set LEDGER_KEYS to where it lies"
    )
