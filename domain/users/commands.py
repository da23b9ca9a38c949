"""What can be asked of a user."""

from uuid import UUID

from domain.records import record
from domain.users.events import UserRole


@record
class RegisterUser:
    user_id: UUID
    username: str
    email: str
    password_hash: str


@record
class ChangePassword:
    password_hash: str


@record
class AssignRole:
    role: UserRole
    assigned_by: UUID | None


@record
class SuspendUser:
    reason: str
    suspended_by: UUID


@record
class ReinstateUser:
    reinstated_by: UUID


UserCommand = RegisterUser | ChangePassword | AssignRole | SuspendUser | ReinstateUser
