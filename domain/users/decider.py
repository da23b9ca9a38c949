"""Every rule of a user.

- A username and an e-mail address belong to one user. Claim streams (`domain.claims.uniqueness`)
  hold that, written in the same commit.
- Only an administrator who is not suspended gives orders about other people's users and accounts.
- Nobody suspends themselves. Whoever suspends an administrator is another one and stays one, so
  the last administrator is never suspended.
- Who is suspended does not sign in and uses no session (`domain.sessions.decider`).
"""

from datetime import datetime
from typing import assert_never

from domain.errors import NotPermitted, UserIsSuspended, UserNotFound
from domain.events import Header, header
from domain.text import check_email, check_reason, check_username
from domain.users import commands as c
from domain.users import events as e
from domain.users.state import UserState


def decide(
    command: c.UserCommand, state: UserState | None, now: datetime
) -> tuple[e.UserEvent, ...]:
    """Raises a Refusal, or returns the events (none when nothing would change)."""
    if isinstance(command, c.RegisterUser):
        assert state is None, "user ids are fresh"
        registered = e.UserRegistered(
            **header(command.user_id, 1, now),
            username=check_username(command.username),
            email=check_email(command.email),
            password_hash=command.password_hash,
        )
        return (registered,)
    if state is None:
        raise UserNotFound("there is no such user")
    match command:
        case c.ChangePassword():
            changed = e.PasswordChanged(**_next(state, now), password_hash=command.password_hash)
            return (changed,)
        case c.AssignRole():
            if state.role is command.role:
                return ()
            assigned = e.RoleAssigned(
                **_next(state, now), role=command.role, assigned_by=command.assigned_by
            )
            return (assigned,)
        case c.SuspendUser():
            return _suspend(command, state, now)
        case c.ReinstateUser():
            if not state.suspended:
                return ()
            reinstated = e.UserReinstated(**_next(state, now), reinstated_by=command.reinstated_by)
            return (reinstated,)
        case _:
            assert_never(command)


def check_administrator(user: UserState | None) -> None:
    """Raises NotPermitted, UserIsSuspended."""
    if user is None or user.role is not e.UserRole.ADMIN:
        raise NotPermitted("only an administrator may do this")
    check_not_suspended(user)


def check_not_suspended(user: UserState) -> None:
    """Raises UserIsSuspended."""
    if user.suspended:
        raise UserIsSuspended("this user is suspended; ask the administrator")


def _suspend(command: c.SuspendUser, state: UserState, now: datetime) -> tuple[e.UserEvent, ...]:
    reason = check_reason(command.reason)
    if command.suspended_by == state.id:
        raise NotPermitted("nobody can suspend themselves; ask another administrator")
    if state.suspended:
        return ()
    return (e.UserSuspended(**_next(state, now), reason=reason, suspended_by=command.suspended_by),)


def _next(state: UserState, now: datetime) -> Header:
    return header(state.id, state.version + 1, now)
