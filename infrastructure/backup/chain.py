"""Whether a loaded log is the one that its hash chain was made of; asked before it is committed."""

from typing import Any

import psycopg

from infrastructure.backup.archive import BackupRefused

# Every link must be the hash of the one before it and of its own entries, and its entries those of
# the events between the two.
_FIRST_BROKEN_LINK = """
SELECT min(link.position) FROM (
    SELECT position, events, entries, hash,
           lag(position, 1, 0::bigint) OVER by_position AS position_before,
           lag(events, 1, 0::bigint) OVER by_position AS events_before,
           lag(hash, 1, decode(repeat('00', 32), 'hex')) OVER by_position AS hash_before
    FROM ledger.links WINDOW by_position AS (ORDER BY position)
) AS link CROSS JOIN LATERAL (
    SELECT count(*) AS events,
           string_agg(
               int8send(notification_id) || ledger.leaf(
                   notification_id, originator_id, originator_version, recorded_at, topic, state),
               NULL ORDER BY notification_id
           ) AS entries
    FROM ledger.ledger_events
    WHERE notification_id > link.position_before AND notification_id <= link.position
) AS made
WHERE link.hash <> sha256(link.hash_before || link.entries)
   OR made.entries IS DISTINCT FROM link.entries
   OR link.events <> link.events_before + made.events
"""
_ENDS = """
SELECT (SELECT coalesce(max(position), 0) FROM ledger.links),
       (SELECT coalesce(max(notification_id), 0) FROM ledger.ledger_events)
"""


def check_chain(connection: psycopg.Connection[Any]) -> None:
    """Nothing for a log from before there was a chain. Raises BackupRefused."""
    if connection.execute("SELECT to_regclass('ledger.links')").fetchone() == (None,):
        return
    broken = connection.execute(_FIRST_BROKEN_LINK).fetchone()
    assert broken is not None
    if broken[0] is not None:
        raise BackupRefused(
            f"the hash chain is broken at the link of position {broken[0]}; use another backup"
        )
    ends = connection.execute(_ENDS).fetchone()
    assert ends is not None
    if ends[0] != ends[1]:
        raise BackupRefused(
            f"the hash chain ends at position {ends[0]} and the log at {ends[1]}; use another"
            " backup"
        )
