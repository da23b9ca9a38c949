"""A checkpoint: what a log held at one moment, in a form that can be signed."""

from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID

from domain.records import record

FORMAT = "chatledger checkpoint v1"
NO_PREVIOUS = bytes(32)


@record
class Checkpoint:
    """log: which log it is. position: of its last event. events: how many there are. chain: the
    last link's hash. root: of the Merkle tree over all leaves. previous: the hash of the
    checkpoint before. key_id: of the public key that it is signed for."""

    log: UUID
    position: int
    events: int
    chain: bytes
    root: bytes
    previous: bytes
    signed_at: datetime
    key_id: str

    @property
    def text(self) -> bytes:
        """What is signed: lines of ASCII, each ended."""
        lines = (
            FORMAT,
            f"log {self.log}",
            f"position {self.position}",
            f"events {self.events}",
            f"chain {self.chain.hex()}",
            f"root {self.root.hex()}",
            f"previous {self.previous.hex()}",
            f"time {format_time(self.signed_at)}",
            f"key {self.key_id}",
        )
        return "".join(f"{line}\n" for line in lines).encode("ascii")

    @property
    def hash(self) -> bytes:
        return sha256(self.text).digest()


def format_time(time: datetime) -> str:
    """RFC 3339 in UTC with microseconds, so that a time has one form."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
