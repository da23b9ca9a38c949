"""What can be asked of a session."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, kw_only=True)
class OpenSession:
    session_id: UUID
    user_id: UUID
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class RotateSession:
    """generation: the one the presented refresh token carries."""

    generation: int
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class RevokeSession:
    reason: str


SessionCommand = OpenSession | RotateSession | RevokeSession
