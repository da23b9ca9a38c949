"""Requests and their answers on the way between an event loop and a model's thread."""

import asyncio
import time
from collections.abc import Sequence

from application.chat.inference import Completion, Delta, GenerationRequest, WorkMeter
from application.chat.inference_errors import InferenceError

Item = Delta | Completion | InferenceError


class Job:
    """A request, and the queue of its answer. Make it in the event loop that will read `items`.

    The last item is a Completion or an InferenceError.
    """

    def __init__(
        self, request: GenerationRequest, *, timeout_s: float, meter: WorkMeter | None = None
    ) -> None:
        self.request = request
        self.meter = meter or WorkMeter()
        self.owner = request.owner
        self.timeout_s = timeout_s
        self.deadline = time.monotonic() + timeout_s
        self.items: asyncio.Queue[Item] = asyncio.Queue()
        self.cancelled = False
        self.loop = asyncio.get_running_loop()

    def put(self, items: Sequence[Item]) -> None:
        """Call it in the job's event loop."""
        for item in items:
            self.items.put_nowait(item)


class Outbox:
    """Collects what a step gives to its readers, and wakes each of their event loops once."""

    def __init__(self) -> None:
        self._items: dict[Job, list[Item]] = {}

    def put(self, job: Job, *items: Item) -> None:
        self._items.setdefault(job, []).extend(items)

    def deliver(self) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Job, list[Item]]]] = {}
        for job, items in self._items.items():
            by_loop.setdefault(job.loop, []).append((job, items))
        self._items = {}
        for loop, deliveries in by_loop.items():
            try:
                loop.call_soon_threadsafe(_hand_over, deliveries)
            except RuntimeError:
                # The loop is closed, so nobody waits for these answers any more.
                for job, _ in deliveries:
                    job.cancelled = True


def _hand_over(deliveries: list[tuple[Job, list[Item]]]) -> None:
    for job, items in deliveries:
        job.put(items)
