"""What can be asked of a user."""

from dataclasses import dataclass
from uuid import UUID

from domain.users.events import UserRole


@dataclass(frozen=True, kw_only=True)
class RegisterUser:
    user_id: UUID
    username: str
    email: str
    password_hash: str


@dataclass(frozen=True, kw_only=True)
class ChangePassword:
    password_hash: str


@dataclass(frozen=True, kw_only=True)
class AssignRole:
    role: UserRole
    assigned_by: UUID | None


@dataclass(frozen=True, kw_only=True)
class SuspendUser:
    reason: str
    suspended_by: UUID


@dataclass(frozen=True, kw_only=True)
class ReinstateUser:
    reinstated_by: UUID


UserCommand = RegisterUser | ChangePassword | AssignRole | SuspendUser | ReinstateUser
