"""A bounded queue in front of the work on passwords, which is slow by design.

Without it a flood of sign-ins takes every core for as long as it lasts, and whoever signs in
honestly waits behind all of it.
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
from infrastructure.onnx.fair_queue import FairQueue

Args = TypeVarTuple("Args")
T = TypeVar("T")

_WINDOW_S = 60.0
# Of the niceness that Linux gives each thread: chat and balances come first on a busy core.
_NICENESS = 5


@dataclass(frozen=True, kw_only=True)
class PasswordLimits:
    """threads: at work at once; 0: half of the cores. waiting_max, owner_waiting_max: who comes
    when so many wait, of all strangers or all known owners, or of the same owner, is refused.
    wait_s_max: who has not had a turn by then is refused. strangers_per_minute: hashes for owners
    that are not known."""

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
    owner: str
    turn_came: "asyncio.Future[None]"


class PasswordQueue:
    """Belongs to one event loop. clock: seconds that never go back."""

    def __init__(self, limits: PasswordLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        # Who is known comes first: a flood of strangers then costs them one turn at most.
        self._known: FairQueue[_Waiting] = FairQueue()
        self._strange: FairQueue[_Waiting] = FairQueue()
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
        """What `work` returns in a thread of the executor, in its turn. hashes: it counts against
        the budget of strangers. Raises PasswordsBusy."""
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
        # A thread cannot be interrupted, so the place is free when the work is done, and not
        # already when nobody waits for it any more.
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
            self._running[turn.owner] += 1
            return
        queue = self._known if turn.known else self._strange
        of_owner = sum(waiting.owner == turn.owner for waiting in queue)
        if len(queue) >= self._limits.waiting_max or of_owner >= self._limits.owner_waiting_max:
            raise PasswordsBusy(self._retry_after_s)
        waiting = _Waiting(turn.owner, asyncio.get_running_loop().create_future())
        queue.put(waiting)
        try:
            async with asyncio.timeout(self._limits.wait_s_max):
                await waiting.turn_came
        except TimeoutError:
            self._leave(queue, waiting)
            raise PasswordsBusy(self._retry_after_s) from None
        except BaseException:
            self._leave(queue, waiting)
            raise

    @property
    def _retry_after_s(self) -> int:
        return math.ceil(self._limits.wait_s_max)

    def _leave(self, queue: FairQueue[_Waiting], waiting: _Waiting) -> None:
        # Not in the queue any more: its turn came at the moment in which it gave up.
        if not queue.remove(waiting):
            self._release(waiting.owner)

    def _release(self, owner: str) -> None:
        self._running[owner] -= 1
        if not self._running[owner]:
            del self._running[owner]
        queue = self._known or self._strange
        if queue and self._running.total() < self._limits.at_once:
            following = queue.take(lambda name: self._running[name])
            self._running[following.owner] += 1
            following.turn_came.set_result(None)


def background_threads(count: int, name: str) -> ThreadPoolExecutor:
    """Threads that leave the cores to others where the system can tell threads apart."""
    return ThreadPoolExecutor(count, thread_name_prefix=name, initializer=_step_back)


def _step_back() -> None:
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
