"""Reads the log's events in the form that leaves are hashes of. The server packs them, a page to a
row."""

from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from struct import Struct
from typing import Any

import psycopg

from infrastructure.log.reader import STRETCH_END
from infrastructure.log.workers import LogWorker, WorkerPool

_LENGTH = Struct("!I")
# Events of one piece of work, and bytes of states in one row.
_EVENTS = 5000
_BYTES_MAX = 4 * 2**20

# The sizes come from the rows' headers, so no long state is read only to be measured.
_READ = """
SELECT max(notification_id), string_agg(
    int4send(45 + octet_length(topic) + octet_length(state)) || '\\x00'::bytea
    || int8send(notification_id) || uuid_send(originator_id) || int8send(originator_version)
    || timestamptz_send(recorded_at) || int4send(octet_length(topic))
    || convert_to(topic, 'UTF8') || state, NULL ORDER BY notification_id)
FROM (
    SELECT *, sum(octet_length(state)) OVER (ORDER BY notification_id)
        - octet_length(state) AS bytes_before
    FROM ledger.ledger_events
    WHERE notification_id > %s AND notification_id <= %s
) AS measured
WHERE bytes_before < %s
"""
_POSITION_BYTES = slice(1, 9)


class _Packer(LogWorker):
    def __init__(self, service_url: str, connect_timeout_s: int) -> None:
        super().__init__(service_url, "chatledger verify", connect_timeout_s)

    def entries(self, after: int, until: int) -> bytes:
        entries: list[bytes] = []
        while after < until:
            row = self.connection.execute(
                _READ, (after, until, _BYTES_MAX), prepare=True, binary=True
            ).fetchone()
            assert row is not None, "an aggregate has one row"
            last, packed = row
            if last is None:
                break
            entries += _entries(packed)
            after = last
        return b"".join(entries)


def read_entries(
    connection: psycopg.Connection[Any],
    pool: WorkerPool,
    service_url: str,
    *,
    until: int,
    connect_timeout_s: int,
) -> Iterator[bytes]:
    """The entries of the log's events up to position `until`, in pages. As in the chain's links, an
    entry is eight bytes of position and the leaf.

    connection: to the same database; it is used whenever a page is taken. Raises psycopg.Error.
    """
    crew = pool.crew("entries", partial(_Packer, service_url, connect_timeout_s))
    return crew.in_order(_Packer.entries, _stretches(connection, until))


def _stretches(connection: psycopg.Connection[Any], until: int) -> Iterator[tuple[int, int]]:
    after = 0
    while after < until:
        bounds = {"after": after, "until": until, "events": _EVENTS}
        row = connection.execute(STRETCH_END, bounds).fetchone()
        end = until if row is None else int(row[0])
        yield after, end
        after = end


def _entries(packed: bytes) -> Iterator[bytes]:
    place, end = 0, len(packed)
    while place < end:
        start = place + 4
        place = start + _LENGTH.unpack_from(packed, place)[0]
        hashed = packed[start:place]
        yield hashed[_POSITION_BYTES]
        yield sha256(hashed).digest()
