"""The thread of one model: takes requests from a bounded queue and steps their batch."""

import logging
import math
import threading
import time
from collections import Counter
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass

from application.chat.inference_errors import (
    EngineBusy,
    GenerationTimedOut,
    InferenceError,
    OwnerBusy,
)
from infrastructure.inference.answers.batch import Batch
from infrastructure.inference.answers.jobs import Job, Outbox
from infrastructure.inference.answers.threads import ANSWERING
from infrastructure.inference.answers.turnstile import Turnstile
from infrastructure.process.fair_queue import FairQueue

_log = logging.getLogger(__name__)

_RETRY_AFTER_S_MAX = 60
# Weight of the newest answer in the average that retry_after is computed from.
_AVERAGE_WEIGHT = 0.2
_AVERAGE_S_START = 2.0


class WorkerClosed(InferenceError):
    """The worker takes no more requests."""


@dataclass(frozen=True, kw_only=True)
class QueueLimits:
    """waiting_max: requests that may wait, beside those being answered. waiting_each_max: the same
    for one owner. rows_each_max: batch rows that one owner may have at once. 0 means all but one,
    so that another owner's first request need not wait for one of these answers to end."""

    waiting_max: int
    waiting_each_max: int
    rows_each_max: int = 0


class ModelWorker:
    """Shares the batch and its queue between owners. Each has a fixed number of places at most.
    While the queue is full, the owner with the most places loses the newest waiting request to an
    owner with fewer."""

    def __init__(
        self, batch: Batch, outbox: Outbox, turnstile: Turnstile, limits: QueueLimits
    ) -> None:
        self._batch = batch
        self._outbox = outbox
        self._turnstile = turnstile
        rows = batch.model.session.limits.rows_max
        self._places = rows + limits.waiting_max
        self._rows_each = min(limits.rows_each_max, rows) or max(1, rows - 1)
        self._places_each = self._rows_each + limits.waiting_each_max
        self._waiting: FairQueue[Job] = FairQueue()
        self._changed = threading.Condition()
        # A daemon, so that the process can end although a step can't be interrupted.
        self._thread = threading.Thread(target=self._work, name=ANSWERING, daemon=True)
        self._drops: list[Future[int]] = []
        self._running: Counter[str] = Counter()
        self._closed = False
        self._average_s = _AVERAGE_S_START

    def start(self) -> None:
        self._thread.start()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> int:
        return self._running.total()

    def check_room(self, owner: str) -> None:
        """Raises EngineBusy or OwnerBusy if a request of this owner would be refused now."""
        with self._changed:
            self._who_gives_way(owner)

    def submit(self, job: Job) -> None:
        """Raises EngineBusy when the queue is full, OwnerBusy when the owner has too many places,
        WorkerClosed."""
        with self._changed:
            if self._closed:
                raise WorkerClosed("the inference engine is closed")
            busiest = self._who_gives_way(job.owner)
            if busiest is not None:
                given_up = self._waiting.newest(busiest)
                busy = EngineBusy(retry_after_s=self._retry_after_s())
                with suppress(RuntimeError):  # Its loop is closed, so nobody waits for it.
                    given_up.loop.call_soon_threadsafe(given_up.put, (busy,))
            self._waiting.put(job)
            self._changed.notify()

    def withdraw(self, job: Job) -> None:
        """For a reader who went away. Frees its place in the queue at once, or its batch row before
        the next step."""
        job.cancelled = True
        with self._changed:
            self._waiting.remove(job)

    def drop_kept(self) -> "Future[int]":
        """Empty the prefix cache between two steps. The result is the number of bytes that it held;
        0 from a closed worker, which holds nothing."""
        dropped: Future[int] = Future()
        with self._changed:
            if self._closed:
                dropped.set_result(0)
            else:
                self._drops.append(dropped)
                self._changed.notify()
        return dropped

    def close_if_idle(self) -> bool:
        """Close, unless there are requests. Returns whether it is closed now."""
        with self._changed:
            if self.running or len(self._waiting):
                return False
            self._closed = True
            self._changed.notify()
        return True

    def close(self, timeout_s: float) -> None:
        """End all requests with an error, and wait for the thread to end."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _who_gives_way(self, owner: str) -> str | None:
        """The owner whose newest request must leave the full queue for one of this owner; None
        while there is room. Raises EngineBusy, OwnerBusy."""
        own = self._running[owner] + self._waiting.of(owner)
        if own >= self._places_each:
            why = f"{own} of your messages are being answered or wait, the most at once"
            raise OwnerBusy(retry_after_s=self._retry_after_s(), why=why)
        if self.running + len(self._waiting) < self._places:
            return None
        busiest, most = self._waiting.busiest(self._running.__getitem__)
        if most <= own + 1:
            raise EngineBusy(retry_after_s=self._retry_after_s())
        return busiest

    def _retry_after_s(self) -> int:
        rows = self._batch.model.session.limits.rows_max
        wait_s = self._average_s * (len(self._waiting) + 1) / rows
        return min(max(1, math.ceil(wait_s)), _RETRY_AFTER_S_MAX)

    def _work(self) -> None:
        while self._has_work():
            try:
                with self._turnstile:
                    self._round()
            except Exception:  # noqa: BLE001  one defect must not end the thread
                _log.exception("a round of %s broke off", self._batch.model.name)
                self._batch.fail_all(InferenceError("the model broke off"))
            with self._changed:
                self._count_running()
            self._outbox.deliver()
        closing = InferenceError("the inference engine is closing")
        with self._changed:
            for job in self._waiting:
                self._outbox.put(job, closing)
            self._waiting = FairQueue()
        self._batch.fail_all(closing)
        self._outbox.deliver()
        self._drop_kept()

    def _has_work(self) -> bool:
        """Waits for work. False when the worker was closed."""
        with self._changed:
            while not self._closed:
                if self.running or len(self._waiting) or self._drops:
                    return True
                if self._batch.has_answers_to_prefill:
                    return True
                self._changed.wait()
        return False

    def _round(self) -> None:
        batch = self._batch
        self._drop_kept()
        batch.drop_ended()
        with self._changed:
            self._fail_late()
            job = None
            self._count_running()
            if batch.has_room:
                job = self._waiting.take_within(self._running.__getitem__, each_max=self._rows_each)
            if job is not None:
                self._running[job.owner] += 1
        if job is not None:
            batch.admit(job)
        if batch.jobs:
            batch.step()
        elif batch.has_answers_to_prefill and job is None:
            batch.prefill_answered()
        if batch.last_took_s is not None:
            self._average_s += _AVERAGE_WEIGHT * (batch.last_took_s - self._average_s)
            batch.last_took_s = None

    def _count_running(self) -> None:
        self._running = Counter([job.owner for job in self._batch.jobs])

    def _drop_kept(self) -> None:
        with self._changed:
            drops, self._drops = self._drops, []
        for dropped in drops:
            dropped.set_result(self._batch.forget())

    def _fail_late(self) -> None:
        now = time.monotonic()
        for job in [job for job in self._waiting if now > job.deadline]:
            self._waiting.remove(job)
            self._outbox.put(job, GenerationTimedOut(timeout_s=job.timeout_s))
