"""Folds stretches of the log beside the one who writes them: in a thread, or in processes."""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from multiprocessing.util import Finalize

from infrastructure.postgres.bulk_fold import Folded, Folder, FoldPlan

# What a process costs to start is a few thousand events' work.
EVENTS_A_PROCESS_MIN = 50_000


class FoldPool:
    """ahead: how many stretches may wait to be written or be folded at once."""

    def __init__(self, executor: Executor, folder: Folder | None, ahead: int) -> None:
        self._executor = executor
        self._folder = folder
        self.ahead = ahead

    def fold(self, after: int, until: int) -> "Future[Folded]":
        if self._folder is not None:
            return self._executor.submit(self._folder.fold, after, until)
        return self._executor.submit(_fold, after, until)


@asynccontextmanager
async def fold_pool(plan: FoldPlan, *, events: int, processes: int) -> AsyncIterator[FoldPool]:
    """events: about how many there are to fold. processes: at most so many; one of them is this
    one, if it is all there is. Raises psycopg.Error."""
    processes = min(processes, events // EVENTS_A_PROCESS_MIN)
    folder = None
    if processes < 2:
        folder = await asyncio.to_thread(Folder, plan)
        executor: Executor = ThreadPoolExecutor(1, thread_name_prefix="fold")
    else:
        # A process that is copied from this one would have its threads' locks and connections.
        executor = ProcessPoolExecutor(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(plan,),
        )
    try:
        yield FoldPool(executor, folder, max(1, processes) + 1)
    finally:
        await asyncio.to_thread(executor.shutdown, cancel_futures=True)
        if folder is not None:
            folder.close()


_folders: list[Folder] = []


def _begin(plan: FoldPlan) -> None:
    # Whoever interrupts the command means the process that this one works for.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    folder = Folder(plan)
    _folders.append(folder)
    Finalize(folder, folder.close, exitpriority=1)


def _end_with_parent() -> None:
    """A parent that was killed tells nobody, and this process would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _fold(after: int, until: int) -> Folded:
    return _folders[0].fold(after, until)
