"""The recorded answer of a message that was sent before under the same idempotency key."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from application.chat.answer import Answer, GenerationFailed
from application.ledger.idempotency import decode_result
from application.ledger.ledger import Ledger
from application.ledger.streams import IDEMPOTENCY
from domain.claims.idempotency import Completed, Free, IdempotencyKey, Running
from domain.errors import CommandInProgress

_POLL_S_MIN = 0.02
_POLL_S_MAX = 0.5


async def find_recorded(
    ledger: Ledger, key: IdempotencyKey, *, wait: timedelta, give_up: Callable[[], bool]
) -> Answer | None:
    """The answer recorded under the key; None when the key is free.

    Waits while the first sender's answer is under way, in this process or another. When that one
    fails, so does this sender; the key is free for a new try afterwards.

    Raises IdempotencyKeyReused, GenerationFailed, CommandInProgress after `wait` or when
    `give_up()` says so.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait.total_seconds()
    poll_s = _POLL_S_MIN
    waited = False
    while True:
        match key.status(await ledger.load(IDEMPOTENCY, key.claim_id)):
            case Completed() as recorded:
                return decode_result(recorded, Answer).as_replay()
            case Free() if waited:
                raise GenerationFailed("failed")
            case Free():
                return None
            case Running():
                pass
        if loop.time() >= deadline or give_up():
            raise CommandInProgress("the same message is still being answered; try again shortly")
        waited = True
        await asyncio.sleep(poll_s)
        poll_s = min(2 * poll_s, _POLL_S_MAX)
