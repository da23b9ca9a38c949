"""Given these events, when this command, then these events or this refusal."""

from dataclasses import replace
from functools import reduce

import pytest

from domain.errors import (
    InvalidEmail,
    InvalidText,
    InvalidUsername,
    NotPermitted,
    UserIsSuspended,
    UserNotFound,
)
from domain.text import REASON_CHARACTERS_MAX
from domain.users import commands as c
from domain.users import events as e
from domain.users.decider import check_administrator, decide
from domain.users.state import UserState, evolve
from tests.domain.given import ADMIN, NOW, USER

REGISTER = c.RegisterUser(
    user_id=USER, username="ada", email="ada@example.com", password_hash="hash-1"
)
SUSPEND = c.SuspendUser(reason="abuse", suspended_by=ADMIN)
REINSTATE = c.ReinstateUser(reinstated_by=ADMIN)
PROMOTE = c.AssignRole(role=e.UserRole.ADMIN, assigned_by=None)


def after(*commands: c.UserCommand) -> UserState:
    state: UserState | None = None
    for command in (REGISTER, *commands):
        state = reduce(evolve, decide(command, state, NOW), state)
    assert state is not None
    return state


def test_a_registered_user_has_the_plain_role_and_an_unproved_address() -> None:
    (registered,) = decide(REGISTER, None, NOW)
    assert registered == e.UserRegistered(
        originator_id=USER,
        originator_version=1,
        timestamp=NOW,
        username="ada",
        email="ada@example.com",
        password_hash="hash-1",
    )
    user = after()
    assert (user.role, user.email_verified, user.suspended) == (e.UserRole.USER, False, False)


def test_a_username_that_breaks_the_rules_is_refused() -> None:
    with pytest.raises(InvalidUsername):
        decide(replace(REGISTER, username="a da"), None, NOW)


def test_an_address_that_breaks_the_rules_is_refused() -> None:
    with pytest.raises(InvalidEmail):
        decide(replace(REGISTER, email="ada"), None, NOW)


def test_a_user_id_is_used_once() -> None:
    with pytest.raises(AssertionError, match="user ids are fresh"):
        decide(REGISTER, after(), NOW)


@pytest.mark.parametrize(
    "command", [c.ChangePassword(password_hash="hash-2"), PROMOTE, SUSPEND, REINSTATE]
)
def test_a_user_who_never_registered_is_not_found(command: c.UserCommand) -> None:
    with pytest.raises(UserNotFound, match="there is no such user"):
        decide(command, None, NOW)


def test_a_changed_password_replaces_the_hash() -> None:
    assert after(c.ChangePassword(password_hash="hash-2")).password_hash == "hash-2"


def test_a_role_is_assigned_once_and_by_someone_or_at_the_command_line() -> None:
    (assigned,) = decide(PROMOTE, after(), NOW)
    assert isinstance(assigned, e.RoleAssigned)
    assert (assigned.role, assigned.assigned_by) == (e.UserRole.ADMIN, None)
    assert decide(replace(PROMOTE, assigned_by=ADMIN), after(PROMOTE), NOW) == ()
    assert after(PROMOTE).role is e.UserRole.ADMIN


def test_a_suspension_is_recorded_once_and_lifted_once() -> None:
    (suspended,) = decide(SUSPEND, after(), NOW)
    assert isinstance(suspended, e.UserSuspended)
    assert (suspended.reason, suspended.suspended_by) == ("abuse", ADMIN)
    assert after(SUSPEND).suspended
    assert decide(SUSPEND, after(SUSPEND), NOW) == ()
    (reinstated,) = decide(REINSTATE, after(SUSPEND), NOW)
    assert isinstance(reinstated, e.UserReinstated)
    assert not after(SUSPEND, REINSTATE).suspended
    assert decide(REINSTATE, after(), NOW) == ()


@pytest.mark.parametrize("reason", ["", "  ", "\u200b", "two\nlines", "x" * 201])
def test_a_suspension_says_why_on_one_line_that_can_be_read(reason: str) -> None:
    for state in (after(), after(SUSPEND)):
        with pytest.raises(InvalidText, match="reason"):
            decide(replace(SUSPEND, reason=reason), state, NOW)


def test_a_reason_is_kept_without_the_space_around_it_and_may_fill_its_bound() -> None:
    words = "x" * REASON_CHARACTERS_MAX
    (suspended,) = decide(replace(SUSPEND, reason=f" {words}\n"), after(), NOW)
    assert isinstance(suspended, e.UserSuspended)
    assert suspended.reason == words


def test_nobody_suspends_themselves_so_one_administrator_is_always_left() -> None:
    with pytest.raises(NotPermitted, match="ask another administrator"):
        decide(replace(SUSPEND, suspended_by=USER), after(PROMOTE), NOW)


def test_only_an_administrator_who_is_not_suspended_gives_orders() -> None:
    check_administrator(after(PROMOTE))
    check_administrator(after(PROMOTE, SUSPEND, REINSTATE))
    for user in (None, after(), after(replace(PROMOTE, role=e.UserRole.AUDITOR))):
        with pytest.raises(NotPermitted, match="only an administrator"):
            check_administrator(user)
    with pytest.raises(UserIsSuspended):
        check_administrator(after(PROMOTE, SUSPEND))


def test_each_event_is_the_next_version() -> None:
    assert after(PROMOTE, SUSPEND, REINSTATE).version == 4
