"""Writes the MACs of events from before events carried their own. They stand in a table beside the
log, which cannot be changed, and are written once."""

from collections.abc import Callable

import psycopg

from application.ledger.event_macs import StateMacs
from infrastructure.log.scan import LogScan
from infrastructure.log.state import read_log_state

_SEAL = "COPY ledger.seals (originator_id, originator_version, mac) FROM STDIN"
_PROGRESS_EVENTS = 10_000


def seal(owner_url: str, macs: StateMacs, on_progress: Callable[[float], None]) -> int:
    """Seal every event from before there were MACs, in one transaction; returns how many there are.
    on_progress: is told the share that is done, 0 to 1. Raises psycopg.Error."""
    with psycopg.connect(owner_url, application_name="chatledger seal") as connection:
        connection.execute("LOCK TABLE ledger.seals IN ACCESS EXCLUSIVE MODE")
        state = read_log_state(connection)
        if not state.needs_sealing:
            return 0
        count = 0
        with psycopg.connect(owner_url, autocommit=True) as reading:
            scan = LogScan(reading, state.before_macs, None)
            with connection.cursor() as cursor, cursor.copy(_SEAL) as copy:
                for row in scan.rows():
                    stream, version = row.originator_id, row.originator_version
                    mac = macs.seal(stream.bytes, version, row.topic, row.state)
                    copy.write_row((stream, version, mac))
                    count += 1
                    if count % _PROGRESS_EVENTS == 0:
                        on_progress(row.position / state.before_macs)
        on_progress(1.0)
        return count
