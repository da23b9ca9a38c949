"""What proves that events are in the log as somebody was shown them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from application.read_models import ReceiptView


@dataclass(frozen=True, kw_only=True)
class ProvenEvent:
    """As it is stored. leaf: its hash. index: how many events are before it in the log. path: its
    inclusion proof in the proof's checkpoint (RFC 6962), empty where that does not cover it."""

    position: int
    stream_id: UUID
    version: int
    recorded_at: datetime
    topic: str
    state: bytes
    leaf: bytes
    index: int
    path: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True)
class Proof:
    """checkpoint: the newest one, as a line of JSON; None while it does not cover every event.
    expected_by: when it will."""

    events: tuple[ProvenEvent, ...]
    checkpoint: str | None
    expected_by: datetime | None


class Proofs(Protocol):
    async def of_receipt(self, receipt: ReceiptView) -> Proof:
        """Of every event that the receipt was made from. Raises EventNotAuthentic where one of
        them was not written by this ledger, and ReadModelsUnavailable."""
        ...
