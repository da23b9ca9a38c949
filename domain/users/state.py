"""The fold of a user."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from domain.records import record
from domain.users.events import (
    PasswordChanged,
    RoleAssigned,
    UserEvent,
    UserRegistered,
    UserReinstated,
    UserRole,
    UserSuspended,
)


@record
class UserState:
    """first_password_hash: of the password the user registered with. password_changed_at: None
    while that is still the password. reinstated_at: when the last suspension ended. What the two
    times do to sessions is said in `domain.sessions.decider`. Each is later than the one before
    it, also where a clock was set back, and so may be later than its event says."""

    id: UUID
    version: int
    username: str
    email: str
    password_hash: str
    first_password_hash: str
    email_verified: bool = False
    role: UserRole = UserRole.USER
    suspended: bool = False
    password_changed_at: datetime | None = None
    reinstated_at: datetime | None = None

    @property
    def sessions_ended_at(self) -> datetime | None:
        """When all sessions from before ended last."""
        times = [time for time in (self.password_changed_at, self.reinstated_at) if time]
        return max(times, default=None)


def evolve(state: UserState | None, event: UserEvent) -> UserState:
    """Never rejects history."""
    if isinstance(event, UserRegistered):
        return UserState(
            id=event.originator_id,
            version=event.originator_version,
            username=event.username,
            email=event.email,
            password_hash=event.password_hash,
            first_password_hash=event.password_hash,
        )
    assert state is not None, "a user's first event is UserRegistered"
    return replace(_apply(state, event), version=event.originator_version)


def _apply(state: UserState, event: UserEvent) -> UserState:
    match event:
        case PasswordChanged():
            changed_at = _later(state, event.timestamp)
            return replace(state, password_hash=event.password_hash, password_changed_at=changed_at)
        case RoleAssigned():
            return replace(state, role=event.role)
        case UserSuspended():
            return replace(state, suspended=True)
        case UserReinstated():
            return replace(state, suspended=False, reinstated_at=_later(state, event.timestamp))
        case UserRegistered():
            return state


def _later(state: UserState, time: datetime) -> datetime:
    """The time, or one just after sessions ended last, where that is later."""
    last = state.sessions_ended_at
    return time if last is None else max(time, last + timedelta.resolution)
