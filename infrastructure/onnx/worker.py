"""One thread that runs the model, fed from a bounded queue in order of arrival.

A step of a model takes all cores and all of the memory's bandwidth, so two sessions side by side
would only halve each other: all models share this thread.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from application.inference import EngineBusy, InferenceError

_log = logging.getLogger(__name__)

THREAD_NAME = "inference"
_RETRY_AFTER_S_MAX = 60
# Weight of the newest job in the average that retry_after is computed from.
_AVERAGE_WEIGHT = 0.2
_AVERAGE_S_START = 2.0


class Job(Protocol):
    """Something for the worker to do; neither method may raise."""

    def run(self) -> None: ...

    def fail(self, error: InferenceError) -> None:
        """Called instead of `run` when the worker closes first."""
        ...


class InferenceWorker:
    """queue_max bounds the jobs that wait, the running one not counted."""

    def __init__(self, *, queue_max: int) -> None:
        self._queue_max = queue_max
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._running: Job | None = None
        self._closed = False
        self._average_s = _AVERAGE_S_START

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> Job | None:
        return self._running

    @property
    def is_idle(self) -> bool:
        with self._changed:
            return self._running is None and not self._waiting

    def submit(self, job: Job, *, bounded: bool = True) -> None:
        """Raises EngineBusy when the queue is full (unless not bounded), InferenceError when
        the worker is closed."""
        with self._changed:
            if self._closed:
                raise InferenceError("the inference engine is closed")
            if bounded and len(self._waiting) >= self._queue_max:
                raise EngineBusy(retry_after_s=self._retry_after_s())
            if self._thread is None:
                # A daemon: a step of the model can't be interrupted, the process may end.
                self._thread = threading.Thread(target=self._work, name=THREAD_NAME, daemon=True)
                self._thread.start()
            self._waiting.append(job)
            self._changed.notify()

    def withdraw(self, job: Job) -> None:
        """Give the job's place in the queue free, if it still has one."""
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)

    def close(self, stop_running: Callable[[Job], None], timeout_s: float) -> None:
        """Fail what waits, ask what runs to stop, and wait for the thread to end."""
        with self._changed:
            self._closed = True
            waiting, thread = list(self._waiting), self._thread
            self._waiting.clear()
            if self._running is not None:
                stop_running(self._running)
            self._changed.notify()
        for job in waiting:
            job.fail(InferenceError("the inference engine is closing"))
        if thread is not None:
            thread.join(timeout_s)

    def _retry_after_s(self) -> int:
        wait_s = self._average_s * (len(self._waiting) + 1)
        return min(max(1, math.ceil(wait_s)), _RETRY_AFTER_S_MAX)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                job = self._running = self._waiting.popleft()
            started = time.monotonic()
            try:
                job.run()
            except Exception:  # noqa: BLE001
                # A job that breaks its promise must not take the others' worker with it.
                _log.exception("an inference job broke off")
            took_s = time.monotonic() - started
            with self._changed:
                self._running = None
                self._average_s += _AVERAGE_WEIGHT * (took_s - self._average_s)
