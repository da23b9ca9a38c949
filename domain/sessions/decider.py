"""Every rule of a session.

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

REASON_REUSED = "refresh_token_reused"


def decide(
    command: c.SessionCommand, state: SessionState | None, now: datetime
) -> tuple[e.SessionEvent, ...]:
    """A reused refresh token is a fact (SessionRevoked), not a refusal, because it must be
    recorded; the handler refuses after the commit. No event: the good generation stays."""
    if isinstance(command, c.OpenSession):
        assert state is None, "session ids are fresh"
        opened = e.SessionOpened(
            **header(command.session_id, 1, now),
            user_id=command.user_id,
            expires_at=_in_the_future(command.expires_at, now),
        )
        return (opened,)
    if state is None or not state.is_live(now):
        raise SessionEnded("this session has ended; sign in again")
    match command:
        case c.RotateSession():
            if _is_second_tab(command, state, now):
                return ()
            if command.generation != state.generation:
                return (e.SessionRevoked(**_next(state, now), reason=REASON_REUSED),)
            rotated = e.SessionRotated(
                **_next(state, now),
                generation=state.generation + 1,
                expires_at=_in_the_future(command.expires_at, now),
            )
            return (rotated,)
        case c.RevokeSession():
            return (e.SessionRevoked(**_next(state, now), reason=command.reason),)
        case _:
            assert_never(command)


def _is_second_tab(command: c.RotateSession, state: SessionState, now: datetime) -> bool:
    if state.rotated_at is None or command.generation != state.generation - 1:
        return False
    # Clocks of two processes differ a little, so the use may seem to lie ahead.
    return abs(now - state.rotated_at) < command.grace


def _in_the_future(expires_at: datetime, now: datetime) -> datetime:
    assert check_zone(expires_at) > now, "a session ends in the future"
    return expires_at


def _next(state: SessionState, now: datetime) -> Header:
    return header(state.id, state.version + 1, now)
