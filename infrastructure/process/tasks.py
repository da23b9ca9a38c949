"""Ending tasks for good."""

import asyncio
from collections.abc import Iterable
from typing import Any

_AGAIN_S = 0.25


async def cancel_until_done(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel, and again as long as a task goes on. How each ended is not looked at.

    Until Python 3.12 `asyncio.wait_for`, which psycopg and nats-py wait with, loses a cancellation
    that comes in the same turn as what it waits for (python/cpython#86296): one stop in twenty of
    a busy relay never ended.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=_AGAIN_S)
        for task in done:
            if not task.cancelled():
                task.exception()  # or asyncio would complain that nobody asked
