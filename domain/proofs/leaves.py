"""What is hashed of an event, and the chain through all of them.

`docs/audit.md` has the same byte for byte, and `ledger.leaf` computes it in the database.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256

HASH_BYTES = 32
# One entry of a link: eight bytes of position, then the leaf.
ENTRY_BYTES = 8 + HASH_BYTES
CHAIN_START = bytes(HASH_BYTES)
# From where PostgreSQL's timestamptz_send counts.
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def event_leaf(
    *,
    position: int,
    stream_id: bytes,
    version: int,
    recorded_us: int,
    topic: bytes,
    state: bytes,
) -> bytes:
    """stream_id: 16 bytes. recorded_us: as `microseconds` gives them."""
    return sha256(
        b"\x00"
        + position.to_bytes(8, "big", signed=True)
        + stream_id
        + version.to_bytes(8, "big", signed=True)
        + recorded_us.to_bytes(8, "big", signed=True)
        + _with_length(topic)
        + state
    ).digest()


def microseconds(time: datetime) -> int:
    """How many have passed since 2000-01-01 00:00 UTC."""
    return (time - _EPOCH) // _MICROSECOND


def recorded_at(us: int) -> datetime:
    """The time that `microseconds` turns into this number."""
    return _EPOCH + us * _MICROSECOND


@dataclass(frozen=True)
class Link:
    """One link of the chain: the events of one insert. position: of the last of them. events: how
    many the log has up to and with them. entries: position and leaf of each of them."""

    position: int
    events: int
    entries: bytes
    hash: bytes

    @property
    def first_index(self) -> int:
        """The number of its first event in the log, counted from 0."""
        return self.events - len(self.entries) // ENTRY_BYTES

    def follows(self, chain: bytes) -> bool:
        return next_hash(chain, self.entries) == self.hash

    def leaves(self) -> list[bytes]:
        entries = self.entries
        return [
            entries[place + 8 : place + ENTRY_BYTES]
            for place in range(0, len(entries), ENTRY_BYTES)
        ]

    def positions(self) -> list[int]:
        entries = self.entries
        return [
            int.from_bytes(entries[place : place + 8], "big")
            for place in range(0, len(entries), ENTRY_BYTES)
        ]


def next_hash(chain: bytes, entries: bytes) -> bytes:
    return sha256(chain + entries).digest()


@lru_cache(maxsize=256)
def _with_length(topic: bytes) -> bytes:
    return len(topic).to_bytes(4, "big") + topic
