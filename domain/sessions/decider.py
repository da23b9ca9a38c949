"""Every rule of a session.

- A refresh token is good once: its use makes the next generation (RFC 9700, section 2.2.2).
- The use of an older generation means that a token was copied: the whole session ends.
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
    recorded; the handler refuses after the commit."""
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


def _in_the_future(expires_at: datetime, now: datetime) -> datetime:
    assert check_zone(expires_at) > now, "a session ends in the future"
    return expires_at


def _next(state: SessionState, now: datetime) -> Header:
    return header(state.id, state.version + 1, now)
