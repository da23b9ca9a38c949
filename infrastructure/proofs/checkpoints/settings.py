"""How checkpoints are made; the operator's settings arrive here through the composition root."""

from dataclasses import dataclass, field
from pathlib import Path

from infrastructure.relay.settings import ProjectionSettings


@dataclass(frozen=True, kw_only=True)
class CheckpointSettings:
    """folder: where the file is. events_max, interval_s: a checkpoint is signed after so many
    events, or after so much time when there are any. links_max: read at once; leaves_max: hashed
    before others get their turn. foreign_messages_max: passed over behind the last checkpoint of
    ours in NATS. published_within_s: how long a checkpoint may take to be everywhere.
    connections: how the servers are reached, and the stream whose name the checkpoints' stream
    begins with."""

    folder: Path
    events_max: int = 10_000
    interval_s: float = 10.0
    links_max: int = 200
    leaves_max: int = 1000
    foreign_messages_max: int = 1000
    published_within_s: float = 60.0
    connections: ProjectionSettings = field(default_factory=ProjectionSettings)

    @property
    def stream(self) -> str:
        return f"{self.connections.stream}-checkpoints"

    @property
    def subjects(self) -> str:
        return f"{self.connections.stream}.checkpoints.*"

    def subject(self, log: object) -> str:
        """Each log has its own."""
        return f"{self.connections.stream}.checkpoints.{log}"
