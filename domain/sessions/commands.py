"""What can be asked of a session."""

from datetime import datetime
from uuid import UUID

from domain.records import record


@record
class OpenSession:
    session_id: UUID
    user_id: UUID
    expires_at: datetime


@record
class RotateSession:
    """generation: the one the presented refresh token carries."""

    generation: int
    expires_at: datetime


@record
class RevokeSession:
    reason: str


SessionCommand = OpenSession | RotateSession | RevokeSession
