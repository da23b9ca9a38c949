"""The log's events as what their leaves are hashes of, packed by the server: a row a page."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from struct import Struct
from typing import Any

from psycopg import Connection

_LENGTH = Struct("!I")
# A page ends before the event that would exceed one of them, and has at least one event.
_EVENTS_MAX = 1000
_BYTES_MAX = 4 * 2**20

# The sizes come from the rows' headers: no long state is fetched only to be measured.
_READ = """
SELECT max(notification_id), string_agg(
    int4send(45 + octet_length(topic) + octet_length(state)) || '\\x00'::bytea
    || int8send(notification_id) || uuid_send(originator_id) || int8send(originator_version)
    || timestamptz_send(recorded_at) || int4send(octet_length(topic))
    || convert_to(topic, 'UTF8') || state, NULL ORDER BY notification_id)
FROM (
    SELECT *, sum(octet_length(state)) OVER (ORDER BY notification_id)
        - octet_length(state) AS bytes_before
    FROM (
        SELECT * FROM ledger.ledger_events
        WHERE notification_id > %s AND notification_id <= %s
        ORDER BY notification_id LIMIT %s
    ) AS waiting
) AS measured
WHERE bytes_before < %s
"""
_POSITION_BYTES = slice(1, 9)


def read_entries(connection: Connection[Any], *, until: int) -> Iterator[list[bytes]]:
    """Pages of entries as the chain's links have them, computed of the events up to and with
    position `until`: eight bytes of position and the leaf.

    While a page is hashed here the server packs the next one, so nobody else may use the
    connection.
    """

    def fetch(after: int) -> tuple[int | None, bytes]:
        bounds = (after, until, _EVENTS_MAX, _BYTES_MAX)
        row = connection.execute(_READ, bounds, prepare=True, binary=True).fetchone()
        assert row is not None, "an aggregate has one row"
        return row[0], row[1]

    with ThreadPoolExecutor(1, thread_name_prefix="verify") as pool:
        page = pool.submit(fetch, 0)
        while True:
            last, packed = page.result()
            if last is None:
                return
            page = pool.submit(fetch, last)
            yield _entries(packed)


def _entries(packed: bytes) -> list[bytes]:
    entries: list[bytes] = []
    place, end = 0, len(packed)
    while place < end:
        start = place + 4
        place = start + _LENGTH.unpack_from(packed, place)[0]
        hashed = packed[start:place]
        entries.append(hashed[_POSITION_BYTES] + sha256(hashed).digest())
    return entries
