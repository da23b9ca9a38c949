"""One at a time, in order of arrival.

A step of a model takes all cores and all of the memory's bandwidth, so two models side by side
would only halve each other; a plain lock would let the one that just left in again first.
"""

import threading
from collections import deque
from types import TracebackType


class Turnstile:
    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._taken = False

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def __enter__(self) -> None:
        with self._guard:
            if not self._taken:
                self._taken = True
                return
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        # Released by whoever leaves, who keeps the turnstile taken for us.
        turn.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False
