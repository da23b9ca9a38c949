"""What can be asked of a session."""

from datetime import datetime, timedelta
from uuid import UUID

from domain.records import record


@record
class OpenSession:
    session_id: UUID
    expires_at: datetime


@record
class RotateSession:
    """generation: the one the presented refresh token carries. grace: how long after its use a
    token may come once more, from another tab of the same browser."""

    generation: int
    expires_at: datetime
    grace: timedelta = timedelta(0)


@record
class RevokeSession:
    """Changes nothing where the session has ended.

    reason: stands in the event (`domain.sessions.events.SessionRevoked`).
    """

    reason: str


SessionCommand = OpenSession | RotateSession | RevokeSession
