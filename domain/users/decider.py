"""Every rule of a user. That a username and an e-mail belong to one user is held by claim
streams (`domain.claims`) written in the same commit."""

from datetime import datetime
from typing import assert_never

from domain.errors import UserNotFound
from domain.events import Header, header
from domain.text import check_email, check_username
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
            if state.suspended:
                return ()
            suspended = e.UserSuspended(
                **_next(state, now), reason=command.reason, suspended_by=command.suspended_by
            )
            return (suspended,)
        case c.ReinstateUser():
            if not state.suspended:
                return ()
            reinstated = e.UserReinstated(**_next(state, now), reinstated_by=command.reinstated_by)
            return (reinstated,)
        case _:
            assert_never(command)


def _next(state: UserState, now: datetime) -> Header:
    return header(state.id, state.version + 1, now)
