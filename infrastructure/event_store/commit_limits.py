"""How much waits to be stored, and for how long."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CommitLimits:
    """waiting_max: commits in the queue; more are refused. batch_*: of one transaction.
    answer_timeout_s: until a silent connection counts as lost. unavailable_after_s: how long a
    commit waits for a database that is away. reconnect_s_*: pauses between attempts."""

    waiting_max: int = 4096
    batch_commits_max: int = 512
    batch_bytes_max: int = 1_000_000
    connect_timeout_s: float = 2.0
    answer_timeout_s: float = 10.0
    unavailable_after_s: float = 5.0
    reconnect_s_min: float = 0.05
    reconnect_s_max: float = 1.0
