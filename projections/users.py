"""Who is registered, and what they may do. Password hashes are left out."""

from domain.users.events import (
    RoleAssigned,
    UserRegistered,
    UserReinstated,
    UserRole,
    UserSuspended,
)
from projections.row_changes import Handlers, RowChanges, Update, Upsert, Value, on

TABLE = "users"


def _registered(event: UserRegistered, _position: int) -> RowChanges:
    values: dict[str, Value] = {
        "username": event.username,
        "email": event.email,
        "email_verified": False,
        "role": UserRole.USER.value,
        "suspended": False,
        "created_at": event.timestamp,
    }
    return (Upsert(TABLE, {"user_id": event.originator_id}, values),)


def _assigned(event: RoleAssigned, _position: int) -> RowChanges:
    return (Update(TABLE, {"user_id": event.originator_id}, {"role": event.role.value}),)


def _suspended(event: UserSuspended, _position: int) -> RowChanges:
    return (Update(TABLE, {"user_id": event.originator_id}, {"suspended": True}),)


def _reinstated(event: UserReinstated, _position: int) -> RowChanges:
    return (Update(TABLE, {"user_id": event.originator_id}, {"suspended": False}),)


HANDLERS: Handlers = dict(
    [
        on(UserRegistered, _registered),
        on(RoleAssigned, _assigned),
        on(UserSuspended, _suspended),
        on(UserReinstated, _reinstated),
    ]
)
