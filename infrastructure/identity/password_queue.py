"""A bounded queue in front of the work on passwords, which is slow by design.

Without it a flood of sign-ins would take every core for as long as it lasts, and honest users would
wait behind all of it.
"""

import asyncio
import math
import os
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar, TypeVarTuple

from application.ports import PasswordsBusy, PasswordTurn
from infrastructure.process.fair_queue import FairQueue

Args = TypeVarTuple("Args")
T = TypeVar("T")

_WINDOW_S = 60.0
# Linux has a niceness for each thread: on a busy core, chat and balances come first.
_NICENESS = 5


@dataclass(frozen=True, kw_only=True)
class PasswordLimits:
    """An owner is an address; it is known to an account that has signed in from it, and a stranger
    otherwise.

    threads: how many work at once; 0: half of the cores. waiting_max: how many turns of strangers
    may wait, and as many of known owners; beyond that the owner with most of them makes room.
    owner_waiting_max: how many of these may be of one stranger, or of one account at an owner that
    it knows. wait_s_max: who has not had a turn by then is refused. strangers_per_minute: hashes
    for strangers.
    """

    threads: int = 0
    waiting_max: int = 64
    owner_waiting_max: int = 8
    wait_s_max: float = 10
    strangers_per_minute: int = 300

    @property
    def at_once(self) -> int:
        return self.threads or max(1, (os.cpu_count() or 2) // 2)


@dataclass(eq=False)
class _Waiting:
    """turn_came: True when its turn has come, False when it has to make room."""

    turn: PasswordTurn
    turn_came: "asyncio.Future[bool]"

    @property
    def owner(self) -> str:
        return self.turn.owner


class PasswordQueue:
    """Belongs to one event loop. clock: seconds that never go back."""

    def __init__(self, limits: PasswordLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        # The two queues take turns, so a flood in one delays the other by one turn at most.
        self._known: FairQueue[_Waiting] = FairQueue()
        self._strange: FairQueue[_Waiting] = FairQueue()
        self._known_was_last = False
        self._running: Counter[str] = Counter()
        self._strangers: deque[float] = deque()

    @property
    def at_once(self) -> int:
        return self._limits.at_once

    @property
    def waiting(self) -> int:
        return len(self._known) + len(self._strange)

    async def run(
        self,
        turn: PasswordTurn,
        executor: Executor,
        work: Callable[[*Args], T],
        *args: *Args,
        hashes: bool = True,
    ) -> T:
        """Runs `work` in a thread of the executor when its turn comes, and returns its result.
        hashes: whether it counts against the budget of strangers. Raises PasswordsBusy."""
        self._check_budget(turn)
        await self._admitted(turn)
        try:
            self._check_budget(turn)
            if hashes and not turn.known:
                self._strangers.append(self._clock())
            future = asyncio.get_running_loop().run_in_executor(executor, work, *args)
        except BaseException:
            self._release(turn.owner)
            raise
        # A thread cannot be interrupted: its place is free when the work is done, even if nobody
        # waits for the result any more.
        future.add_done_callback(lambda _: self._release(turn.owner))
        return await asyncio.shield(future)

    def _check_budget(self, turn: PasswordTurn) -> None:
        if turn.known:
            return
        now_s = self._clock()
        while self._strangers and self._strangers[0] <= now_s - _WINDOW_S:
            self._strangers.popleft()
        if len(self._strangers) >= self._limits.strangers_per_minute:
            raise PasswordsBusy(max(1, math.ceil(self._strangers[0] + _WINDOW_S - now_s)))

    async def _admitted(self, turn: PasswordTurn) -> None:
        if self._running.total() < self._limits.at_once:
            self._begin(turn)
            return
        queue = self._known if turn.known else self._strange
        own = sum(waiting.turn == turn for waiting in queue)
        if own >= self._limits.owner_waiting_max or not self._has_room(queue, turn):
            raise PasswordsBusy(self._retry_after_s)
        waiting = _Waiting(turn, asyncio.get_running_loop().create_future())
        queue.put(waiting)
        try:
            async with asyncio.timeout(self._limits.wait_s_max):
                is_admitted = await waiting.turn_came
        except TimeoutError:
            self._leave(queue, waiting)
            raise PasswordsBusy(self._retry_after_s) from None
        except BaseException:
            self._leave(queue, waiting)
            raise
        if not is_admitted:
            raise PasswordsBusy(self._retry_after_s)

    def _has_room(self, queue: FairQueue[_Waiting], turn: PasswordTurn) -> bool:
        """Whether there is room. The owner with most waiting turns makes some, unless that is this
        owner."""
        if len(queue) < self._limits.waiting_max:
            return True
        busiest, count = queue.busiest(lambda _: 0)
        if count <= queue.of(turn.owner) + 1:
            return False
        leaving = queue.newest(busiest)
        if not leaving.turn_came.done():
            leaving.turn_came.set_result(False)
        return True

    @property
    def _retry_after_s(self) -> int:
        return math.ceil(self._limits.wait_s_max)

    def _leave(self, queue: FairQueue[_Waiting], waiting: _Waiting) -> None:
        queue.remove(waiting)
        came = waiting.turn_came
        # Its turn came just as it gave up, so it holds a place that nobody uses.
        if came.done() and not came.cancelled() and came.result():
            self._release(waiting.owner)

    def _begin(self, turn: PasswordTurn) -> None:
        self._running[turn.owner] += 1
        self._known_was_last = turn.known

    def _release(self, owner: str) -> None:
        self._running[owner] -= 1
        if not self._running[owner]:
            del self._running[owner]
        while self.waiting and self._running.total() < self._limits.at_once:
            first, second = self._known, self._strange
            if self._known_was_last:
                first, second = second, first
            following = (first or second).take(lambda name: self._running[name])
            # One that has just given up may still be in the queue.
            if not following.turn_came.done():
                self._begin(following.turn)
                following.turn_came.set_result(True)


def background_threads(count: int, name: str) -> ThreadPoolExecutor:
    """Threads that give way to others, on systems where a thread has a priority of its own."""
    return ThreadPoolExecutor(count, thread_name_prefix=name, initializer=_step_back)


def _step_back() -> None:
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
