"""The fold of a user."""

from dataclasses import replace
from datetime import datetime
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
    times do to sessions is said in `domain.sessions.decider`."""

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
            return replace(
                state, password_hash=event.password_hash, password_changed_at=event.timestamp
            )
        case RoleAssigned():
            return replace(state, role=event.role)
        case UserSuspended():
            return replace(state, suspended=True)
        case UserReinstated():
            return replace(state, suspended=False, reinstated_at=event.timestamp)
        case UserRegistered():
            return state
