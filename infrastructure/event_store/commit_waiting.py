"""A commit that waits to be stored, and whether it still may be."""

from application.ledger.commits import Commit, PredecessorFailed
from infrastructure.event_store import commit_sql as statement


class Waiting:
    __slots__ = ("bytes", "commit", "deadline", "keys", "rows")

    def __init__(self, commit: Commit, deadline: float) -> None:
        """Raises DataError."""
        self.commit = commit
        self.deadline = max(deadline, commit.deadline)
        self.rows = rows = [statement.encode_event(event) for event in commit.events]
        self.keys = [row[0] + row[1] for row in rows]
        self.bytes = sum([len(row[3]) for row in rows])


def may_be_stored(waiting: Waiting) -> bool:
    """Not when it has failed, or, and then it is told so, one that it builds on has."""
    commit = waiting.commit
    if commit.is_done:
        return False
    if commit.after and any(earlier.error is not None for earlier in commit.after):
        commit.failed(PredecessorFailed())
        return False
    return True
