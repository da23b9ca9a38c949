"""Whether what the log holds can be believed under the keys at hand, asked before anybody does."""

from dataclasses import dataclass
from typing import Any

import psycopg

from application.event_macs import StateMacs

_FIRST_EVENT = """
SELECT originator_id, originator_version, topic, state FROM ledger.events_with_macs
ORDER BY notification_id LIMIT 1
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
            raise LogUnsealed(
                f"the log up to position {self.before_macs} is from before events were"
                " authenticated; stop every service of the earlier version and run `chatledger"
                " audit seal` once, which checks it and seals it"
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
    """Whether these are the keys of this log: with others, nothing in it would be believed.

    Raises OtherKeys.
    """
    row = connection.execute(_FIRST_EVENT).fetchone()
    if row is None:
        return
    stream_id, version, topic, state = row
    doubt = macs.doubt(stream_id.bytes, version, topic, bytes(state))
    if doubt is not None:
        raise OtherKeys(
            f"the file of ledger keys is not that of this log: its first event {doubt}; bring back"
            " the file that belongs to it, or set LEDGER_KEYS to where it lies"
        )
