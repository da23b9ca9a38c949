"""Who is registered, and what they may do. No password hash is ever here."""

from domain.events import Event
from domain.users.events import (
    RoleAssigned,
    UserRegistered,
    UserReinstated,
    UserRole,
    UserSuspended,
)
from projections.row_changes import RowChanges, Update, Upsert

TABLE = "users"
EVENTS: tuple[type[Event], ...] = (UserRegistered, RoleAssigned, UserSuspended, UserReinstated)


def project(event: Event, position: int) -> RowChanges:  # noqa: ARG001 - the form of a projection
    match event:
        case UserRegistered():
            yield Upsert(
                TABLE,
                {"user_id": event.originator_id},
                {
                    "username": event.username,
                    "email": event.email,
                    "email_verified": False,
                    "role": UserRole.USER.value,
                    "suspended": False,
                    "created_at": event.timestamp,
                },
            )
        case RoleAssigned():
            yield Update(TABLE, {"user_id": event.originator_id}, {"role": event.role.value})
        case UserSuspended() | UserReinstated():
            suspended = isinstance(event, UserSuspended)
            yield Update(TABLE, {"user_id": event.originator_id}, {"suspended": suspended})
