"""Given these events, when this command, then these events or this refusal; and a machine that
refreshes with every token that was ever handed out."""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import reduce

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)

from domain.errors import SessionEnded, UserIsSuspended
from domain.sessions import commands as c
from domain.sessions import events as e
from domain.sessions.decider import REASON_REUSED, decide, usable
from domain.sessions.state import SessionState, evolve
from domain.users.commands import ChangePassword, ReinstateUser, SuspendUser, UserCommand
from domain.users.decider import decide as decide_user
from domain.users.state import UserState
from domain.users.state import evolve as evolve_user
from tests.domain.given import ADMIN, NOW, USER, an_id, in_days
from tests.domain.test_users import REGISTER

SESSION = an_id("session")
OPEN = c.OpenSession(session_id=SESSION, expires_at=in_days(7))
LOGOUT = c.RevokeSession(reason="logout")


GRACE = timedelta(seconds=10)


def rotate(generation: int, *, grace: timedelta = timedelta(0)) -> c.RotateSession:
    return c.RotateSession(generation=generation, expires_at=in_days(14), grace=grace)


def user_after(*commands: UserCommand, at: datetime = NOW) -> UserState:
    """Registered long before, so that only the commands lie at the time."""
    (registered,) = decide_user(REGISTER, None, in_days(-30))
    user = evolve_user(None, registered)
    for command in commands:
        user = reduce(evolve_user, decide_user(command, user, at), user)
    return user


ADA = user_after()
SUSPEND = SuspendUser(reason="abuse", suspended_by=ADMIN)
REINSTATE = ReinstateUser(reinstated_by=ADMIN)
NEW_PASSWORD = ChangePassword(password_hash="hash-2")


def after(*commands: c.SessionCommand, at: datetime = NOW) -> SessionState:
    state: SessionState | None = None
    for command in (OPEN, *commands):
        state = reduce(evolve, decide(command, state, ADA, at), state)
    assert state is not None
    return state


def test_a_session_opens_with_its_first_refresh_token() -> None:
    (opened,) = decide(OPEN, None, ADA, NOW)
    assert opened == e.SessionOpened(
        originator_id=SESSION,
        originator_version=1,
        timestamp=NOW,
        user_id=USER,
        expires_at=in_days(7),
    )
    assert after().generation == 1
    assert after().is_live(NOW)


def test_a_refresh_token_is_exchanged_for_the_next_and_lives_longer() -> None:
    (rotated,) = decide(rotate(1), after(), ADA, NOW)
    assert isinstance(rotated, e.SessionRotated)
    assert (rotated.generation, rotated.expires_at) == (2, in_days(14))
    state = after(rotate(1), rotate(2))
    assert (state.generation, state.expires_at) == (3, in_days(14))


@pytest.mark.parametrize("generation", [0, 1, 3, 99])
def test_a_token_of_any_other_generation_ends_the_whole_session(generation: int) -> None:
    (revoked,) = decide(rotate(generation), after(rotate(1)), ADA, NOW)
    assert isinstance(revoked, e.SessionRevoked)
    assert revoked.reason == REASON_REUSED
    ended = after(rotate(1), rotate(generation))
    assert not ended.is_live(NOW)
    with pytest.raises(SessionEnded, match="sign in again"):
        decide(rotate(2), ended, ADA, NOW)


@pytest.mark.parametrize("later_s", [-2, 0, 9.999])
def test_a_second_tab_that_sends_the_same_token_within_the_grace_ends_nothing(
    later_s: float,
) -> None:
    state = after(rotate(1))

    assert decide(rotate(1, grace=GRACE), state, ADA, NOW + timedelta(seconds=later_s)) == ()


@pytest.mark.parametrize("later_s", [-10, 10, 3600])
def test_a_token_that_comes_again_after_the_grace_was_copied(later_s: float) -> None:
    later = NOW + timedelta(seconds=later_s)
    (revoked,) = decide(rotate(1, grace=GRACE), after(rotate(1)), ADA, later)
    assert isinstance(revoked, e.SessionRevoked)


@pytest.mark.parametrize("generation", [0, 1, 4])
def test_the_grace_is_for_the_token_before_the_good_one_and_no_other(generation: int) -> None:
    (revoked,) = decide(rotate(generation, grace=GRACE), after(rotate(1), rotate(2)), ADA, NOW)
    assert isinstance(revoked, e.SessionRevoked)


def test_the_first_token_has_none_before_it() -> None:
    (revoked,) = decide(rotate(0, grace=GRACE), after(), ADA, NOW)
    assert isinstance(revoked, e.SessionRevoked)


def test_a_session_that_was_signed_out_has_no_grace() -> None:
    with pytest.raises(SessionEnded):
        decide(rotate(1, grace=GRACE), after(rotate(1), LOGOUT), ADA, NOW)


def test_a_session_is_revoked_and_says_why() -> None:
    (revoked,) = decide(LOGOUT, after(), ADA, NOW)
    assert isinstance(revoked, e.SessionRevoked)
    assert revoked.reason == "logout"


@pytest.mark.parametrize("ended", [after(LOGOUT), None], ids=["signed out", "never was"])
def test_a_session_that_ended_or_never_was_is_of_no_use(ended: SessionState | None) -> None:
    with pytest.raises(SessionEnded, match="sign in again"):
        usable(ended, ADA, NOW)
    with pytest.raises(SessionEnded, match="sign in again"):
        decide(rotate(1), ended, ADA, NOW)
    assert decide(LOGOUT, ended, ADA, NOW) == ()


def test_a_session_is_of_use_to_its_own_user_alone() -> None:
    assert usable(after(), ADA, NOW) == (after(), ADA)
    for stranger in (replace(ADA, id=an_id("stranger")), None):
        with pytest.raises(SessionEnded):
            usable(after(), stranger, NOW)
        with pytest.raises(SessionEnded):
            decide(rotate(1), after(), stranger, NOW)


def test_a_new_password_ends_the_sessions_from_before_it_and_no_others() -> None:
    user = user_after(NEW_PASSWORD, at=in_days(1))

    for session in (after(), after(at=in_days(1))):
        with pytest.raises(SessionEnded, match="the password was changed"):
            usable(session, user, in_days(2))
        with pytest.raises(SessionEnded, match="the password was changed"):
            decide(rotate(1), session, user, in_days(2))
    assert usable(after(at=in_days(1.001)), user, in_days(2))


def test_while_a_user_is_suspended_no_session_is_of_use_and_none_opens() -> None:
    user = user_after(SUSPEND)

    for session in (after(), after(at=in_days(1))):
        with pytest.raises(UserIsSuspended):
            usable(session, user, in_days(1))
    with pytest.raises(UserIsSuspended):
        decide(rotate(1), after(), user, NOW)
    with pytest.raises(UserIsSuspended):
        decide(OPEN, None, user, NOW)


def test_a_suspension_ends_sessions_for_good_and_not_only_while_it_lasts() -> None:
    user = user_after(SUSPEND, REINSTATE, at=in_days(1))

    with pytest.raises(SessionEnded, match="a suspension ended this session"):
        usable(after(), user, in_days(2))
    with pytest.raises(SessionEnded, match="a suspension ended this session"):
        decide(rotate(1), after(), user, in_days(2))
    (opened,) = decide(OPEN, None, user, in_days(2))
    assert usable(evolve(None, opened), user, in_days(2))


def test_signing_out_is_open_to_everybody_whose_session_is_not_over() -> None:
    for user in (user_after(SUSPEND), user_after(NEW_PASSWORD), None):
        (revoked,) = decide(LOGOUT, after(), user, NOW)
        assert isinstance(revoked, e.SessionRevoked)


def test_a_session_ends_at_its_time_and_not_before() -> None:
    assert decide(rotate(1), after(), ADA, in_days(6.999))
    with pytest.raises(SessionEnded):
        decide(rotate(1), after(), ADA, in_days(7))


def test_a_session_id_is_used_once() -> None:
    with pytest.raises(AssertionError, match="session ids are fresh"):
        decide(OPEN, after(), ADA, NOW)


def test_a_session_that_would_never_be_live_is_a_broken_caller() -> None:
    with pytest.raises(AssertionError, match="a session ends in the future"):
        decide(OPEN, None, ADA, OPEN.expires_at)
    with pytest.raises(AssertionError, match="a session ends in the future"):
        decide(c.RotateSession(generation=1, expires_at=NOW), after(), ADA, NOW)


def test_an_expiry_without_a_zone_is_a_broken_caller() -> None:
    naive = c.OpenSession(session_id=SESSION, expires_at=in_days(7).replace(tzinfo=None))
    with pytest.raises(AssertionError, match="carry their zone"):
        decide(naive, None, ADA, NOW)


class SessionLife(RuleBasedStateMachine):
    """The naive session is two numbers: the only token that is good, or none; and the one before
    it, with the time of its use."""

    tokens: Bundle[int] = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.user = ADA
        self.good: int | None = 1
        self.ends_at = self.now + timedelta(days=3)
        opening = c.OpenSession(session_id=SESSION, expires_at=self.ends_at)
        (opened,) = decide(opening, None, self.user, self.now)
        self.state = evolve(None, opened)
        self.before: tuple[int, datetime] | None = None
        self.exchanged: list[int] = []

    @initialize(target=tokens)
    def first_token(self) -> int:
        return self.state.generation

    @rule(target=tokens, token=tokens)
    def refresh(self, token: int) -> int | MultipleResults[int]:
        until = self.now + timedelta(days=3)
        command = c.RotateSession(generation=token, expires_at=until, grace=GRACE)
        if self.good is None or self.now >= self.ends_at:
            with pytest.raises(SessionEnded):
                decide(command, self.state, self.user, self.now)
            return multiple()
        events = decide(command, self.state, self.user, self.now)
        self.state = reduce(evolve, events, self.state)
        if self.before is not None:
            used, at = self.before
            if token == used and self.now - at < GRACE:
                assert events == ()
                return self.good
        (event,) = events
        if token != self.good:
            assert isinstance(event, e.SessionRevoked)
            self.good = None
            return multiple()
        assert isinstance(event, e.SessionRotated)
        self.exchanged.append(token)
        self.before = (token, self.now)
        self.good, self.ends_at = event.generation, until
        return event.generation

    @rule(commands=st.sampled_from([(NEW_PASSWORD,), (SUSPEND, REINSTATE)]))
    def something_happens_to_the_user(self, commands: tuple[UserCommand, ...]) -> None:
        for command in commands:
            self.user = reduce(evolve_user, decide_user(command, self.user, self.now), self.user)
        self.good = None

    @rule(
        step=st.sampled_from(
            [GRACE / 2, GRACE, timedelta(hours=12), timedelta(days=2), timedelta(days=4)]
        )
    )
    def time_passes(self, step: timedelta) -> None:
        self.now += step

    @invariant()
    def no_token_was_good_twice(self) -> None:
        assert len(self.exchanged) == len(set(self.exchanged))

    @invariant()
    def the_session_is_of_use_exactly_while_a_token_is_good(self) -> None:
        if self.good is not None and self.now < self.ends_at:
            assert usable(self.state, self.user, self.now)
            return
        with pytest.raises(SessionEnded):
            usable(self.state, self.user, self.now)


SessionLife.TestCase.settings = settings(stateful_step_count=20)
test_a_refresh_token_is_good_once = SessionLife.TestCase
