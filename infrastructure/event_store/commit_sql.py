"""The statements that store a batch of commits, and their parameters and results as bytes.

Parameters are PostgreSQL's binary arrays (array_recv in src/backend/utils/adt/arrayfuncs.c). Ten
arrays for a whole batch cost a fraction of what binding each event by itself would.
"""

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from uuid import UUID

from eventsourcing.persistence import DataError, StoredEvent
from psycopg import pq
from psycopg.sql import SQL, Composed, Identifier

from application.ledger.commits import Commit

_UUID, _INT8, _TEXT, _BYTEA, _INT4 = 2950, 20, 25, 17, 23
_UUIDS, _INT8S, _TEXTS, _BYTEAS, _INT4S = 2951, 1016, 1009, 1001, 1007
INSERT_TYPES = (
    *(_UUIDS, _INT8S, _TEXTS, _BYTEAS, _INT4S, _INT4S),
    *(_UUIDS, _INT8S, _INT4S, _INT4S),
)
FIND_TYPES = (_UUIDS, _INT8S)

_INSERT = """
WITH given AS MATERIALIZED (
    SELECT * FROM unnest($1, $2, $3, $4, $5, $6) WITH ORDINALITY
    AS t (originator_id, originator_version, topic, state, commit, tie, place)
), taken AS MATERIALIZED (
    SELECT tie, min(commit) AS first FROM (
        SELECT originator_id, originator_version, commit, tie FROM given
        UNION ALL SELECT * FROM unnest($7, $8, $9, $10)
    ) AS c (originator_id, originator_version, commit, tie)
    -- A scalar subquery is looked up row by row in the primary key, whatever statistics say.
    WHERE (SELECT true FROM {events} AS e WHERE e.originator_id = c.originator_id
           AND e.originator_version = c.originator_version)
    GROUP BY tie
), added AS (
    INSERT INTO {events} (originator_id, originator_version, topic, state)
    SELECT originator_id, originator_version, topic, state
    FROM given LEFT JOIN taken USING (tie)
    WHERE taken.first IS NULL OR given.commit < taken.first
    ORDER BY place
    RETURNING notification_id
)
SELECT (SELECT array_agg(notification_id ORDER BY notification_id) FROM added),
       (SELECT array_agg(tie) FROM taken), (SELECT array_agg(first) FROM taken)
"""
_FIND = """
SELECT g.place, e.notification_id, e.topic, e.state
FROM unnest($1, $2) WITH ORDINALITY AS g (originator_id, originator_version, place)
JOIN {events} AS e USING (originator_id, originator_version)
"""

# Dimensions, whether there are nulls, type, length, lower bound.
_ARRAY = struct.Struct("!iiIii")
_LENGTH = struct.Struct("!i")
_LONG = struct.Struct("!iq")
_INT = struct.Struct("!ii")
_UUID_LENGTH = _LENGTH.pack(16)

Row = tuple[bytes, bytes, bytes, bytes]


def insert_statement(schema: str, table: str) -> bytes:
    return _statement(_INSERT, schema, table)


def find_statement(schema: str, table: str) -> bytes:
    return _statement(_FIND, schema, table)


def encode_event(event: StoredEvent) -> Row:
    """Elements of four arrays, each with its length before it. Raises DataError."""
    try:
        if not isinstance(event.originator_id, UUID):
            raise TypeError("its stream's id is no UUID")
        return (
            _UUID_LENGTH + event.originator_id.bytes,
            _LONG.pack(8, event.originator_version),
            _topic(event.topic),
            _LENGTH.pack(len(event.state)) + event.state,
        )
    except (AttributeError, TypeError, UnicodeEncodeError, struct.error) as error:
        raise DataError(
            f"version {event.originator_version} of stream {event.originator_id} cannot be"
            f" stored: {error}"
        ) from error


def insert_parameters(
    rows: Sequence[Sequence[Row]],
    ties: Sequence[int],
    reads: Sequence[Sequence[tuple[UUID, int]]],
) -> list[bytes]:
    """Each argument has one entry for every commit. ties: when a commit fails, the later ones
    with the same number fail with it."""
    ids, versions, topics, states = zip(*chain.from_iterable(rows), strict=True)
    numbers = [_INT.pack(4, number) for number in range(len(rows))]
    own_numbers = [numbers[n] for n, commit in enumerate(rows) for _ in commit]
    # Most commits are tied to no other, and then both arrays are the same.
    tied = [n for n, first in enumerate(ties) if n != first]
    own_ties = (
        [numbers[ties[n]] for n, commit in enumerate(rows) for _ in commit] if tied else own_numbers
    )
    read = [(n, *stream) for n, streams in enumerate(reads) for stream in streams]
    return [
        _array(_UUID, ids),
        _array(_INT8, versions),
        _array(_TEXT, topics),
        _array(_BYTEA, states),
        _array(_INT4, own_numbers),
        _array(_INT4, own_ties),
        _array(_UUID, [_UUID_LENGTH + stream_id.bytes for _, stream_id, _ in read]),
        _array(_INT8, [_LONG.pack(8, version) for *_, version in read]),
        _array(_INT4, [numbers[n] for n, *_ in read]),
        _array(_INT4, [numbers[ties[n]] for n, *_ in read]),
    ]


def find_parameters(rows: Iterable[Row]) -> list[bytes]:
    ids, versions, _, _ = zip(*rows, strict=True)
    return [_array(_UUID, ids), _array(_INT8, versions)]


def decode_found(result: pq.abc.PGresult, rows: Sequence[Row]) -> list[int | None]:
    """The find statement's result: for each row its position, or None where the log does not hold
    exactly this row."""
    found: list[int | None] = [None] * len(rows)
    for n in range(result.ntuples):
        place, position, topic, state = (result.get_value(n, column) or b"" for column in range(4))
        row = int.from_bytes(place, "big") - 1
        if (topic, state) == (rows[row][2][4:], rows[row][3][4:]):
            found[row] = int.from_bytes(position, "big")
    return found


def decode_longs(array: bytes | None) -> list[int]:
    """A binary bigint[]; NULL is empty."""
    return [] if array is None else [n for _, n in _LONG.iter_unpack(array[_ARRAY.size :])]


def decode_ints(array: bytes | None) -> list[int]:
    """A binary int[]; NULL is empty."""
    return [] if array is None else [n for _, n in _INT.iter_unpack(array[_ARRAY.size :])]


def ties_of(commits: Sequence[Commit]) -> list[int]:
    """For each commit the number of the first one that it is tied to, directly or through
    others."""
    tied_to = list(range(len(commits)))
    if not any(commit.after for commit in commits):
        return tied_to
    place = {id(commit): number for number, commit in enumerate(commits)}

    def root(number: int) -> int:
        while tied_to[number] != number:
            tied_to[number] = tied_to[tied_to[number]]
            number = tied_to[number]
        return number

    for number, commit in enumerate(commits):
        for earlier in commit.after:
            if id(earlier) in place:
                one, other = root(number), root(place[id(earlier)])
                tied_to[max(one, other)] = min(one, other)
    return [root(number) for number in range(len(commits))]


def _statement(text: str, schema: str, table: str) -> bytes:
    composed: Composed = SQL(text).format(events=Identifier(schema, table))
    return composed.as_bytes(None)


def _array(element_type: int, elements: Sequence[bytes]) -> bytes:
    header = _ARRAY.pack(1 if elements else 0, 0, element_type, len(elements), 1)
    # An empty array has no dimensions at all.
    return (header if elements else header[:12]) + b"".join(elements)


@lru_cache(maxsize=1024)
def _topic(topic: str) -> bytes:
    encoded = topic.encode()
    return _LENGTH.pack(len(encoded)) + encoded
