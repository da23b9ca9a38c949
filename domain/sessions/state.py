"""The fold of a session."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from domain.records import record
from domain.sessions.events import SessionEvent, SessionOpened, SessionRevoked, SessionRotated


@record
class SessionState:
    """rotated_at: when the refresh token before the good one was used; None while the first one
    is good."""

    id: UUID
    version: int
    user_id: UUID
    generation: int
    opened_at: datetime
    expires_at: datetime
    revoked_reason: str | None = None
    rotated_at: datetime | None = None

    def is_live(self, now: datetime) -> bool:
        """By its own events alone; whether it may be used depends on its user as well
        (`domain.sessions.decider.usable`)."""
        return self.revoked_reason is None and now < self.expires_at


def evolve(state: SessionState | None, event: SessionEvent) -> SessionState:
    """Never rejects history."""
    if isinstance(event, SessionOpened):
        return SessionState(
            id=event.originator_id,
            version=event.originator_version,
            user_id=event.user_id,
            generation=1,
            opened_at=event.timestamp,
            expires_at=event.expires_at,
        )
    assert state is not None, "a session's first event is SessionOpened"
    match event:
        case SessionRotated():
            state = replace(
                state,
                generation=event.generation,
                expires_at=event.expires_at,
                rotated_at=event.timestamp,
            )
        case SessionRevoked():
            state = replace(state, revoked_reason=event.reason)
    return replace(state, version=event.originator_version)
