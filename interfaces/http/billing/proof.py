"""Wire models of a receipt's proof; docs/audit.md says how to check one."""

from datetime import datetime
from typing import Literal, Self
from uuid import UUID

from application.proofs import Proof, ProvenEvent
from infrastructure.proofs.checkpoints.records import SignedCheckpoint
from interfaces.http.fields import Instant, WireModel


class CheckpointWire(WireModel):
    """A line of the checkpoints' file. Hashes, key and signature are in hexadecimal."""

    format: str
    log: str
    position: int
    events: int
    chain: str
    root: str
    previous: str
    time: str
    key: str
    signature: str

    @classmethod
    def of(cls, line: str) -> Self:
        return cls.model_validate_json(line)

    def signed(self) -> SignedCheckpoint:
        """Raises BadRecord."""
        return SignedCheckpoint.from_line(self.model_dump_json())


class ProvenEventWire(WireModel):
    """state: to the last character as it is stored, because the hash is taken of it. path: empty
    while the proof is pending."""

    position: int
    stream_id: UUID
    version: int
    recorded_at: Instant
    topic: str
    state: str
    hash: str
    index: int
    path: list[str]

    @classmethod
    def of(cls, event: ProvenEvent) -> Self:
        return cls(
            position=event.position,
            stream_id=event.stream_id,
            version=event.version,
            recorded_at=event.recorded_at,
            topic=event.topic,
            state=event.state.decode(),
            hash=event.leaf.hex(),
            index=event.index,
            path=[part.hex() for part in event.path],
        )

    def event(self) -> ProvenEvent:
        """Raises ValueError."""
        return ProvenEvent(
            position=self.position,
            stream_id=self.stream_id,
            version=self.version,
            recorded_at=self.recorded_at,
            topic=self.topic,
            state=self.state.encode(),
            leaf=bytes.fromhex(self.hash),
            index=self.index,
            path=tuple(bytes.fromhex(part) for part in self.path),
        )


class ProofWire(WireModel):
    """pending until a checkpoint covers every event; expected_by says when that should be."""

    status: Literal["covered", "pending"]
    expected_by: datetime | None
    checkpoint: CheckpointWire | None
    events: list[ProvenEventWire]

    @classmethod
    def of(cls, proof: Proof) -> Self:
        return cls(
            status="pending" if proof.checkpoint is None else "covered",
            expected_by=proof.expected_by,
            checkpoint=None if proof.checkpoint is None else CheckpointWire.of(proof.checkpoint),
            events=[ProvenEventWire.of(event) for event in proof.events],
        )
