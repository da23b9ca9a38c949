"""Reads the event log in order, without eventsourcing's classes in between: rows are read in binary
and stay bytes until somebody asks for the event."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec
from psycopg import AsyncConnection

from application.ledger.event_macs import StateMacs, not_authentic
from application.ledger.mapping import decode_event
from domain.events import Event

# The channel on which the recorder notifies after each commit.
COMMIT_CHANNEL = "ledger_events"


class LoggedEvent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One row of the log. position: its notification_id. recorded_at: by the database's clock; only
    some queries read it."""

    position: int
    topic: str
    originator_id: UUID
    originator_version: int
    state: bytes
    recorded_at: datetime | None = None

    def decode(self, macs: StateMacs) -> Event:
        """Raises EventNotAuthentic for an event that the ledger did not write, and
        MapperDeserialisationError for one that cannot be read."""
        stream = self.originator_id
        doubt = macs.doubt(stream.bytes, self.originator_version, self.topic, self.state)
        if doubt is not None:
            raise not_authentic(
                stream, self.originator_version, self.topic, doubt, position=self.position
            )
        return self.decode_unproven()

    def decode_unproven(self) -> Event:
        """The event, whoever wrote it. Raises MapperDeserialisationError."""
        event: Event = decode_event(
            topic=self.topic,
            originator_id=self.originator_id,
            originator_version=self.originator_version,
            state=self.state,
        )
        return event


class ReadBounds(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one read. It ends before the event that would exceed one of them, but holds at
    least one event."""

    events_max: int = 1000
    bytes_max: int = 4 * 2**20

    def filled_by(self, events: Sequence[LoggedEvent]) -> bool:
        """Whether there may be more events after these."""
        return (
            len(events) >= self.events_max
            or sum(len(event.state) for event in events) >= self.bytes_max
        )


# octet_length takes the size from the row's header, so no long state is fetched to be measured.
_READ = """
SELECT notification_id, topic, originator_id, originator_version, state
FROM (
    SELECT *, sum(octet_length(state)) OVER (ORDER BY notification_id)
        - octet_length(state) AS bytes_before
    FROM (
        SELECT * FROM ledger.events_with_macs
        WHERE notification_id > %(after)s AND notification_id <= %(until)s
            AND (%(topics)s::text[] IS NULL OR topic = ANY(%(topics)s))
        ORDER BY notification_id LIMIT %(events)s
    ) AS waiting
) AS measured
WHERE bytes_before < %(bytes)s
ORDER BY notification_id
"""
_POSITION_MAX = 2**63 - 1


async def read_log(
    connection: AsyncConnection[Any],
    *,
    after: int,
    bounds: ReadBounds,
    until: int = _POSITION_MAX,
    topics: Sequence[str] | None = None,
) -> Sequence[LoggedEvent]:
    """The events after position `after`, up to and including `until`, oldest first; none at the
    log's end. topics: only events with these stored names."""
    async with connection.cursor(binary=True) as cursor:
        await cursor.execute(
            _READ,
            {
                "after": after,
                "until": until,
                "topics": None if topics is None else list(topics),
                "events": bounds.events_max,
                "bytes": bounds.bytes_max,
            },
        )
        return [LoggedEvent(*row) for row in await cursor.fetchall()]


# Positions may have gaps of any size, so where the next n events end has to be looked up.
STRETCH_END = """
SELECT notification_id FROM ledger.ledger_events
WHERE notification_id > %(after)s AND notification_id <= %(until)s
ORDER BY notification_id OFFSET %(events)s - 1 LIMIT 1
"""


async def find_stretch_end(
    connection: AsyncConnection[Any], *, after: int, until: int, events: int
) -> int:
    """The position of the last of the next `events` events after position `after`; `until` where
    there are fewer up to there."""
    cursor = await connection.execute(
        STRETCH_END, {"after": after, "until": until, "events": events}
    )
    row = await cursor.fetchone()
    return until if row is None else int(row[0])


async def read_head(connection: AsyncConnection[Any]) -> int:
    """The position of the log's last event; 0 where there is none."""
    cursor = await connection.execute(
        "SELECT coalesce(max(notification_id), 0) FROM ledger.ledger_events"
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def read_identity(connection: AsyncConnection[Any]) -> UUID:
    """The log's id. A restored copy has the same id."""
    cursor = await connection.execute("SELECT id FROM ledger.identity")
    row = await cursor.fetchone()
    assert row is not None, "the migration names the log"
    found: UUID = row[0]
    return found


_FOUND = """
SELECT count(*) FROM unnest(%b::bigint[], %b::uuid[], %b::bigint[], %b::text[], %b::bytea[])
    AS given (position, originator_id, originator_version, topic, digest)
JOIN ledger.events_with_macs AS e ON e.notification_id = given.position
WHERE e.originator_id = given.originator_id AND e.originator_version = given.originator_version
  AND e.topic = given.topic AND sha256(e.state) = given.digest
"""


async def are_in_log(connection: AsyncConnection[Any], events: Sequence[LoggedEvent]) -> bool:
    """Whether the log has each of these events at its position. A log that was restored to an
    earlier state may have other events there, with the same streams and versions."""
    cursor = await connection.execute(
        _FOUND,
        (
            [event.position for event in events],
            [event.originator_id for event in events],
            [event.originator_version for event in events],
            [event.topic for event in events],
            [sha256(event.state).digest() for event in events],
        ),
    )
    row = await cursor.fetchone()
    return row == (len(events),)
