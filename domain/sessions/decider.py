"""Every rule of a session.

- It may be used until it ends: at its own time, when its user signs out, when a copied refresh
  token shows up, when the user chooses a new password, and when the user is suspended.
- A suspension ends sessions for good. Nobody signs in while it lasts, and a session from before it
  stays ended after the user is reinstated.
- It speaks for its own user and for nobody else.
- A refresh token is good once: its use makes the next generation (RFC 9700, section 2.2.2).
- Two tabs that share a token send it at the same moment. The token before the good one, within the
  grace after its use, changes nothing: whoever sent it is given the good one as well.
- Any other use of an older generation means that a token was copied: the whole session ends. A
  thief who comes within the grace is found out at the next refresh, because thief and owner then
  hold the same token and only one of them can be first.
"""

from datetime import datetime
from typing import assert_never

from domain.errors import SessionEnded
from domain.events import Header, check_zone, header
from domain.sessions import commands as c
from domain.sessions import events as e
from domain.sessions.state import SessionState
from domain.users.decider import check_not_suspended
from domain.users.state import UserState

REASON_REUSED = "refresh_token_reused"


def decide(
    command: c.SessionCommand, session: SessionState | None, user: UserState | None, now: datetime
) -> tuple[e.SessionEvent, ...]:
    """user: who signs in, or whose session it is.

    A reused refresh token is a fact (SessionRevoked), not a refusal, because it must be
    recorded; the handler refuses after the commit. No event: nothing changes.

    Raises SessionEnded, UserIsSuspended.
    """
    match command:
        case c.OpenSession():
            return (_open(command, session, user, now),)
        case c.RotateSession():
            return _rotate(command, usable(session, user, now)[0], now)
        case c.RevokeSession():
            if session is None or not session.is_live(now):
                return ()
            return (e.SessionRevoked(**_next(session, now), reason=command.reason),)
        case _:
            assert_never(command)


def usable(
    session: SessionState | None, user: UserState | None, now: datetime
) -> tuple[SessionState, UserState]:
    """Both, where the session may be used for this user now.

    Raises SessionEnded, UserIsSuspended.
    """
    if session is None or user is None or session.user_id != user.id or not session.is_live(now):
        raise SessionEnded("this session has ended; sign in again")
    if _is_from_before(user.password_changed_at, session):
        raise SessionEnded("the password was changed, which ended this session; sign in again")
    check_not_suspended(user)
    if _is_from_before(user.reinstated_at, session):
        raise SessionEnded("a suspension ended this session; sign in again")
    return session, user


def _is_from_before(time: datetime | None, session: SessionState) -> bool:
    return time is not None and session.opened_at <= time


def _open(
    command: c.OpenSession, session: SessionState | None, user: UserState | None, now: datetime
) -> e.SessionOpened:
    assert session is None, "session ids are fresh"
    assert user is not None, "only a user signs in"
    check_not_suspended(user)
    return e.SessionOpened(
        **header(command.session_id, 1, now),
        user_id=user.id,
        expires_at=_in_the_future(command.expires_at, now),
    )


def _rotate(
    command: c.RotateSession, session: SessionState, now: datetime
) -> tuple[e.SessionEvent, ...]:
    if _is_second_tab(command, session, now):
        return ()
    if command.generation != session.generation:
        return (e.SessionRevoked(**_next(session, now), reason=REASON_REUSED),)
    rotated = e.SessionRotated(
        **_next(session, now),
        generation=session.generation + 1,
        expires_at=_in_the_future(command.expires_at, now),
    )
    return (rotated,)


def _is_second_tab(command: c.RotateSession, session: SessionState, now: datetime) -> bool:
    if session.rotated_at is None or command.generation != session.generation - 1:
        return False
    # Clocks of two processes differ a little, so the use may seem to lie ahead.
    return abs(now - session.rotated_at) < command.grace


def _in_the_future(expires_at: datetime, now: datetime) -> datetime:
    assert check_zone(expires_at) > now, "a session ends in the future"
    return expires_at


def _next(session: SessionState, now: datetime) -> Header:
    return header(session.id, session.version + 1, now)
