"""A value that one owner may have. The stream's id is a UUIDv5 of the value, so its first
version can be written once, in the same commit as what it protects."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from domain.events import Event, header
from domain.records import record


@record
class ValueClaimed(Event):
    """kind: "username", "email" or "refund". The value itself is not repeated here."""

    TOPIC: ClassVar[str] = "claim.value_claimed"

    kind: str
    owner_id: UUID


@record
class ClaimState:
    id: UUID
    version: int
    owner_id: UUID


def evolve(_state: ClaimState | None, event: ValueClaimed) -> ClaimState:
    return ClaimState(
        id=event.originator_id, version=event.originator_version, owner_id=event.owner_id
    )


def claim(claim_id: UUID, *, kind: str, owner_id: UUID, now: datetime) -> ValueClaimed:
    return ValueClaimed(**header(claim_id, 1, now), kind=kind, owner_id=owner_id)
