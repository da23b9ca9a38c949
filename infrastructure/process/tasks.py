"""Ending tasks for good."""

import asyncio
from collections.abc import Iterable
from typing import Any

_AGAIN_S = 0.25


async def cancel_until_done(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel the tasks, again and again until all have ended. How each ended is ignored.

    Once is not enough: before Python 3.12 `asyncio.wait_for`, which psycopg and nats-py use, loses
    a cancellation that comes in the same turn of the loop as the result (python/cpython#86296).
    With a busy relay, one stop in twenty never ended.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=_AGAIN_S)
        for task in done:
            if not task.cancelled():
                task.exception()  # asyncio complains of exceptions nobody asked for
