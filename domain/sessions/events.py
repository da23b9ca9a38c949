"""Facts about one sign-in. No token is ever stored: a refresh token names its session and its
generation, and both are signed."""

from datetime import datetime
from typing import ClassVar
from uuid import UUID

from domain.events import Event
from domain.records import record


@record
class SessionOpened(Event):
    TOPIC: ClassVar[str] = "session.opened"

    user_id: UUID
    expires_at: datetime


@record
class SessionRotated(Event):
    """generation: of the refresh token that is good from now on."""

    TOPIC: ClassVar[str] = "session.rotated"

    generation: int
    expires_at: datetime


@record
class SessionRevoked(Event):
    """reason: "logout" or "refresh_token_reused"."""

    TOPIC: ClassVar[str] = "session.revoked"

    reason: str


SessionEvent = SessionOpened | SessionRotated | SessionRevoked
