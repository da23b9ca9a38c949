"""How often one caller may call, and how many of its queries may wait. The counts are in the memory
of one process: a proxy that spreads callers over several processes multiplies the limit by their
number."""

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from interfaces.http.problems import RateLimited

WINDOW_S = 60.0


class RateLimit:
    """An exact moving window: the times of each caller's last `per_minute` calls.

    Memory is bounded by the callers of the last minute. clock: seconds that never go back.
    """

    def __init__(
        self, per_minute: int, *, what: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_minute = per_minute
        self._what = what
        self._clock = clock
        # Callers in the order of their latest call that was allowed.
        self._calls: dict[tuple[str, ...], deque[float]] = {}

    def check(self, *caller: str) -> dict[str, str]:
        """Counts one call and returns the headers that tell the caller where it stands.

        Raises RateLimited, and then the call does not count.
        """
        now_s = self._clock()
        self._forget_before(now_s - WINDOW_S)
        calls = self._calls.get(caller, deque())
        while calls and calls[0] <= now_s - WINDOW_S:
            calls.popleft()
        allowed = len(calls) < self._per_minute
        if allowed:
            calls.append(now_s)
            self._calls.pop(caller, None)
            self._calls[caller] = calls
        wait_s = max(1, math.ceil(calls[0] + WINDOW_S - now_s))
        headers = {
            "X-RateLimit-Limit": str(self._per_minute),
            "X-RateLimit-Remaining": str(self._per_minute - len(calls)),
            "X-RateLimit-Reset": str(wait_s),
        }
        if allowed:
            return headers
        text = f"too many {self._what}; try again in {wait_s} s"
        raise RateLimited(text, {**headers, "Retry-After": str(wait_s)})

    @property
    def callers(self) -> int:
        """How many are remembered; who last called over a minute ago is forgotten by `check`."""
        return len(self._calls)

    def _forget_before(self, then_s: float) -> None:
        while self._calls:
            caller = next(iter(self._calls))
            if self._calls[caller][-1] > then_s:
                return
            del self._calls[caller]


class PositionWaits:
    """How many queries of one user wait for the read models at the same time."""

    def __init__(self, at_once_max: int, timeout_s: float) -> None:
        self._at_once_max = at_once_max
        self._timeout_s = timeout_s
        self._waiting: Counter[UUID] = Counter()

    @contextmanager
    def one(self, user_id: UUID) -> Iterator[float]:
        """How long this query may wait; not at all when `at_once_max` others of the user wait."""
        timeout_s = self._timeout_s if self._waiting[user_id] < self._at_once_max else 0.0
        self._waiting[user_id] += 1
        try:
            yield timeout_s
        finally:
            self._waiting[user_id] -= 1
            if not self._waiting[user_id]:
                del self._waiting[user_id]
