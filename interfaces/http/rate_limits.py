"""How often one caller may call. In the memory of one process: a proxy that spreads callers over
several processes multiplies the limit by their number."""

import math
import time

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from interfaces.http.problems import RateLimited


class RateLimit:
    def __init__(self, per_minute: int, *, what: str) -> None:
        self._item = RateLimitItemPerMinute(per_minute)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._what = what

    async def check(self, *caller: str) -> dict[str, str]:
        """Counts one call and returns the headers that tell the caller where it stands.

        Raises RateLimited.
        """
        allowed = await self._limiter.hit(self._item, *caller)
        stats = await self._limiter.get_window_stats(self._item, *caller)
        wait_s = max(1, math.ceil(stats.reset_time - time.time()))
        headers = {
            "X-RateLimit-Limit": str(self._item.amount),
            "X-RateLimit-Remaining": str(max(0, stats.remaining)),
            "X-RateLimit-Reset": str(wait_s),
        }
        if allowed:
            return headers
        text = f"too many {self._what}; try again in {wait_s} s"
        raise RateLimited(text, {**headers, "Retry-After": str(wait_s)})
