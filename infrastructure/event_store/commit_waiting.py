"""Commits that wait to be stored: how many and for how long, one of them, and why they wait."""

from dataclasses import dataclass

from application.ledger.commits import Commit, PredecessorFailed
from infrastructure.event_store import commit_sql


@dataclass(frozen=True, kw_only=True)
class CommitLimits:
    """waiting_max: commits in the queue; more are refused. batch_*: of one transaction.
    result_timeout_s: until a silent connection counts as lost. unavailable_after_s: how long a
    commit waits for a database that is away. reconnect_s_*: pauses between attempts."""

    waiting_max: int = 4096
    batch_commits_max: int = 512
    batch_bytes_max: int = 1_000_000
    connect_timeout_s: float = 2.0
    result_timeout_s: float = 10.0
    unavailable_after_s: float = 5.0
    reconnect_s_min: float = 0.05
    reconnect_s_max: float = 1.0


class Waiting:
    """A commit that waits. deadline: on the event loop's clock. rows: as `commit_sql` encodes them;
    keys: the primary key of each; bytes: of their states."""

    __slots__ = ("bytes", "commit", "deadline", "keys", "rows")

    def __init__(self, commit: Commit, deadline: float) -> None:
        """Raises DataError."""
        self.commit = commit
        self.deadline = max(deadline, commit.deadline)
        self.rows = rows = [commit_sql.encode_event(event) for event in commit.events]
        self.keys = [row[0] + row[1] for row in rows]
        self.bytes = sum([len(row[3]) for row in rows])


def may_be_stored(waiting: Waiting) -> bool:
    """False for a commit that has failed already. One that builds on a failed commit fails here."""
    commit = waiting.commit
    if commit.is_done:
        return False
    if commit.after and any(earlier.error is not None for earlier in commit.after):
        commit.failed(PredecessorFailed())
        return False
    return True


@dataclass
class CommitTrouble:
    """Why nothing can be stored, as the last transaction and the last attempt to connect show; it
    never says what was wrong with a single commit's values. rejected: what the server said of the
    transaction."""

    rejected: str | None = None
    not_connected: str | None = None

    @property
    def reason(self) -> str | None:
        return self.rejected or self.not_connected
