"""The settings of checkpoints, as the composition root makes them from the operator's."""

from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from infrastructure.relay.settings import ProjectionSettings


@dataclass(frozen=True, kw_only=True)
class CheckpointSettings:
    """folder: of the checkpoint file.
    events_max, interval_s: a checkpoint is signed after that many events, or after that time if
        there is at least one new event.
    links_max: links read by one query. leaves_max: leaves hashed before other tasks may run.
    foreign_messages_max: messages of others to skip in NATS behind our last checkpoint.
    published_within_s: how long a checkpoint may take until it is in all its places.
    connections: to the servers; its stream's name is the beginning of our stream's name.
    """

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

    def subject(self, log: UUID | str) -> str:
        """Each log has its own subject."""
        return f"{self.connections.stream}.checkpoints.{log}"
