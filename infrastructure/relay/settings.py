"""How relay and projector work; the operator's settings arrive here through the composition
root."""

from dataclasses import dataclass

from infrastructure.database.leader import LeaderTimes

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class ProjectionSettings:
    """stream: the JetStream stream's name; its one subject is `<stream>.events`.

    poll_s: how long a lost notification or message can go unnoticed. away_poll_s: how often the
    projector reads the log while NATS is away. leader_retry_s: how often a process in reserve tries
    to take over. backoff_s_*: between attempts to reach a server that is away. ack_timeout_s: how
    long JetStream may take to acknowledge; unacknowledged_max: how many messages may wait for that
    at once. message_*: bounds of one message; a single event may exceed the bytes. batch_*: bounds
    of one transaction of the projector. inbox_events_max: events received and not yet projected;
    beyond that they are read from PostgreSQL instead. stream_*: what JetStream keeps.
    """

    stream: str = "chatledger"
    poll_s: float = 1.0
    away_poll_s: float = 0.1
    leader_retry_s: float = 1.0
    connect_timeout_s: int = 5
    backoff_s_min: float = 0.1
    backoff_s_max: float = 5.0
    ack_timeout_s: float = 5.0
    unacknowledged_max: int = 64
    message_events_max: int = 500
    message_bytes_max: int = MIB // 2
    batch_events_max: int = 200
    batch_bytes_max: int = 4 * MIB
    inbox_events_max: int = 10_000
    stream_age_s_max: float = 7 * 24 * 3600
    stream_bytes_max: int = 256 * MIB
    stream_replicas: int = 1

    def __post_init__(self) -> None:
        if not self.stream or any(c in " .*>/\\" or not c.isprintable() for c in self.stream):
            raise ValueError(
                "the name of the JetStream stream must not be empty, nor hold spaces, dots,"
                " slashes, '*' or '>'"
            )

    @property
    def leader_times(self) -> LeaderTimes:
        return LeaderTimes(
            connect_timeout_s=self.connect_timeout_s,
            retry_s=self.leader_retry_s,
            backoff_s_min=self.backoff_s_min,
            backoff_s_max=self.backoff_s_max,
        )

    @property
    def subject(self) -> str:
        return f"{self.stream}.events"
