"""Reads the log from one end to the other, for audits and exports: synchronously, a batch at a
time, up to the event that was the last one when the scan was opened."""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg

from application.ledger.event_macs import EventNotAuthentic, StateMacs
from domain.events import Event
from infrastructure.log.reader import LoggedEvent
from infrastructure.log.state import read_log_state

BATCH_EVENTS = 2000
BATCH_BYTES_MAX = 16 * 2**20
_LOG = "ledger.ledger_events"
_EVENTS = "ledger.events_with_macs"
_POSITION_MAX = 2**63 - 1


class NoLedger(Exception):
    """The text says what to do."""


# octet_length takes the size from the row's header, so no long state is fetched to be measured.
_SCAN = """
SELECT notification_id, topic, originator_id, originator_version, state, recorded_at
FROM (
    SELECT *, sum(octet_length(state)) OVER (ORDER BY notification_id)
        - octet_length(state) AS bytes_before
    FROM (
        SELECT notification_id, topic, originator_id, originator_version, state, recorded_at
        FROM {events}
        WHERE notification_id > %(after)s AND notification_id <= %(until)s
            AND (%(topics)s::text[] IS NULL OR topic = ANY(%(topics)s))
        ORDER BY notification_id LIMIT %(events)s
    ) AS waiting
) AS measured
WHERE bytes_before < %(bytes)s
ORDER BY notification_id
"""
_STREAM = """
SELECT notification_id, topic, originator_id, originator_version, state, recorded_at
FROM {events}
WHERE originator_id = %s AND originator_version > %s AND notification_id <= %s
ORDER BY originator_version LIMIT %s
"""


class LogScan:
    """A scan over one connection. head: the position of the last event when the scan was opened.
    macs: prove each event; None where rows are only compared and nothing that they say is believed.
    left_out: how many events this ledger did not write."""

    def __init__(
        self, connection: psycopg.Connection[Any], head: int, macs: StateMacs | None
    ) -> None:
        self._connection = connection
        self._macs = macs
        self.left_out = 0
        self.first_left_out: EventNotAuthentic | None = None
        events = _LOG if macs is None else _EVENTS
        self._scan = _SCAN.replace("{events}", events).encode()
        self._stream = _STREAM.replace("{events}", events).encode()
        self.head = head

    def events(self, rows: Iterable[LoggedEvent]) -> Iterator[tuple[LoggedEvent, Event]]:
        """Each row with its event. Rows that this ledger did not write are left out and counted.

        Raises MapperDeserialisationError.
        """
        for row in rows:
            if self._macs is None:
                yield row, row.decode_unproven()
                continue
            try:
                yield row, row.decode(self._macs)
            except EventNotAuthentic as error:
                self.left_out += 1
                self.first_left_out = self.first_left_out or error

    def rows(
        self,
        topics: Collection[str] | None = None,
        *,
        after: int = 0,
        until: int = _POSITION_MAX,
        batch_events: int = BATCH_EVENTS,
    ) -> Iterator[LoggedEvent]:
        """The rows after position `after`, up to and including `until`, oldest first. topics: only
        rows with these stored names."""
        end = min(until, self.head)
        chosen = None if topics is None else sorted(topics)
        while True:
            with self._connection.cursor(binary=True) as cursor:
                cursor.execute(
                    self._scan,
                    {
                        "after": after,
                        "until": end,
                        "topics": chosen,
                        "events": batch_events,
                        "bytes": BATCH_BYTES_MAX,
                    },
                )
                batch = [LoggedEvent(*row) for row in cursor.fetchall()]
            if not batch:
                return
            yield from batch
            after = batch[-1].position

    def stream(self, stream_id: UUID, *, until: int = _POSITION_MAX) -> Iterator[LoggedEvent]:
        """One stream's rows, oldest first."""
        version = 0
        end = min(until, self.head)
        while True:
            with self._connection.cursor(binary=True) as cursor:
                cursor.execute(self._stream, (stream_id, version, end, BATCH_EVENTS))
                batch = [LoggedEvent(*row) for row in cursor.fetchall()]
            if not batch:
                return
            yield from batch
            version = batch[-1].originator_version


@contextmanager
def open_scan(
    service_url: str, find_macs: Callable[[], StateMacs], *, connect_timeout_s: int = 5
) -> Iterator[LogScan]:
    """A scan of what is committed now. It needs no snapshot, because events are only ever added and
    become visible in the order of their positions.

    find_macs: called once it is certain that there is a ledger in this database.
    Raises NoLedger, LogUnsealed, psycopg.Error.
    """
    with psycopg.connect(
        service_url,
        autocommit=True,
        application_name="chatledger audit",
        connect_timeout=connect_timeout_s,
    ) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET default_transaction_read_only = on")
        found = connection.execute("SELECT to_regclass(%s)", (_LOG,)).fetchone()
        if found == (None,):
            raise NoLedger("there is no ledger in this database yet; `chatledger start` makes one")
        if connection.execute("SELECT to_regclass(%s)", (_EVENTS,)).fetchone() == (None,):
            raise NoLedger(
                "the ledger is of an earlier version of chatledger; run `chatledger audit seal`"
                " once"
            )
        read_log_state(connection).check()
        row = connection.execute(
            "SELECT coalesce(max(notification_id), 0) FROM ledger.ledger_events"
        ).fetchone()
        assert row is not None
        yield LogScan(connection, int(row[0]), find_macs())
