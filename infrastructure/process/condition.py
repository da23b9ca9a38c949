"""What a part of the service is doing, logged once at each change, and how it goes on after a
failure."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum

import psycopg
import structlog

log = structlog.get_logger()


class State(StrEnum):
    STOPPED = "stopped"
    STARTING = "starting"
    STANDBY = "standby"  # another process leads
    WORKING = "working"
    AWAY = "away"  # a server cannot be reached, or an event not be projected


# STOPPED and STARTING come with every stop and start of the service, which are logged already.
_SAY = {
    State.STOPPED: log.debug,
    State.STARTING: log.debug,
    State.STANDBY: log.info,
    State.WORKING: log.info,
    State.AWAY: log.warning,
}


@dataclass
class Condition:
    """last_error: of the latest failure, even when it is over."""

    name: str
    state: State = State.STOPPED
    last_error: str | None = None
    _said: tuple[State, str | None] = field(default=(State.STOPPED, None))

    def enter(self, state: State, error: str | None = None) -> None:
        self.state = state
        self.last_error = error or self.last_error
        if (state, error) != self._said:
            self._said = (state, error)
            extra = {} if error is None else {"error": error}
            _SAY[state](f"{self.name}_{state}", **extra)


def describe(error: BaseException) -> str:
    """For logs and health: what failed, without passwords of URLs and without anybody's data."""
    name = type(error).__name__
    if isinstance(error, psycopg.Error):
        # The detail and the context of a server's error hold values of rows.
        primary = error.diag.message_primary
        if primary is not None:
            return f"{name}: {primary}"
        return f"{name}: {_first_line(error)}" if not error.diag.sqlstate else name
    return f"{name}: {_first_line(error)}".rstrip(": ")


async def keep_running(
    session: Callable[[], Awaitable[None]],
    condition: Condition,
    *,
    backoff_s_min: float,
    backoff_s_max: float,
) -> None:
    """Run `session` again whenever it fails or ends, until cancelled. The pauses double from
    backoff_s_min to backoff_s_max, and start anew after a session that lasted longer than that."""
    clock = asyncio.get_running_loop().time
    pause_s = backoff_s_min
    condition.enter(State.STARTING)
    try:
        while True:
            started_s = clock()
            try:
                await session()
            except Exception as error:
                if _is_cancelled():
                    raise  # a library has turned the cancellation into a failure of its own
                condition.enter(State.AWAY, describe(error))
            if clock() - started_s > backoff_s_max:
                pause_s = backoff_s_min
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, backoff_s_max)
    finally:
        condition.enter(State.STOPPED)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]
