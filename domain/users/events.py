"""Facts about a user. Passwords appear as bcrypt hashes only."""

from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from domain.events import Event, PersonalText
from domain.records import record


class UserRole(StrEnum):
    USER = "user"
    AUDITOR = "auditor"
    ADMIN = "admin"


@record
class UserRegistered(Event):
    TOPIC: ClassVar[str] = "user.registered"

    username: PersonalText
    email: PersonalText
    password_hash: str


@record
class PasswordChanged(Event):
    TOPIC: ClassVar[str] = "user.password_changed"

    password_hash: str


@record
class RoleAssigned(Event):
    """assigned_by is None when the operator did it at the command line."""

    TOPIC: ClassVar[str] = "user.role_assigned"

    role: UserRole
    assigned_by: UUID | None


@record
class UserSuspended(Event):
    TOPIC: ClassVar[str] = "user.suspended"

    reason: str
    suspended_by: UUID


@record
class UserReinstated(Event):
    TOPIC: ClassVar[str] = "user.reinstated"

    reinstated_by: UUID


UserEvent = UserRegistered | PasswordChanged | RoleAssigned | UserSuspended | UserReinstated
