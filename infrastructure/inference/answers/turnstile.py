"""A fair lock between models: one thread at a time, in order of arrival.

A step of a model takes all cores and the whole memory bandwidth, so two steps at once would only
halve each other's speed. A plain lock would often go back to the thread that has just released it.
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
        # The thread that leaves releases it, and leaves the turnstile taken on our behalf.
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
