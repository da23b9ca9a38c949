"""Work on the whole log, divided among processes that each have a core to themselves."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from multiprocessing.util import Finalize
from typing import Any, Generic, Protocol, TypeVar

import psycopg

# The modules that most of the work needs; a name that is wrong here would be passed over.
LOADED_FIRST = (
    "infrastructure.read_models.rebuild.stretch",
    "infrastructure.proofs.verify.streams",
    "infrastructure.proofs.verify.events",
)


class WorkersLost(Exception):
    """The text says what to do."""


class Worker(Protocol):
    """What one process or thread works with, such as a connection of its own."""

    def close(self) -> None: ...


class LogWorker:
    """A `Worker` with a connection of its own.

    name: of the connection, as PostgreSQL shows it.
    Raises psycopg.OperationalError where it cannot connect.
    """

    def __init__(self, service_url: str, name: str, connect_timeout_s: int) -> None:
        self.connection: psycopg.Connection[Any] = psycopg.connect(
            service_url,
            autocommit=True,
            application_name=name,
            connect_timeout=connect_timeout_s,
        )
        # Each piece of work looks up the MACs of its own events by key. With a hash join,
        # PostgreSQL would hash all MACs that lie beside an old log, for each piece anew.
        self.connection.execute("SET enable_hashjoin = off")
        self.connection.execute("SET enable_mergejoin = off")

    def close(self) -> None:
        self.connection.close()


W = TypeVar("W", bound=Worker)
R = TypeVar("R")


@dataclass(frozen=True)
class Crew(Generic[W]):
    """Workers of one kind. begin: makes a worker in its process, so it must be picklable.
    ahead: how many pieces of work to give out at once, so that no worker waits for the next."""

    name: str
    begin: Callable[[], W]
    executor: Executor
    ahead: int

    def submit(self, work: Callable[..., R], *arguments: Any) -> "Future[R]":
        """work: a method of the worker. What it or `begin` raises, the future raises."""
        return self.executor.submit(_do, self.name, self.begin, work, arguments)

    def in_order(self, work: Callable[..., R], pieces: Iterable[tuple[Any, ...]]) -> Iterator[R]:
        """Their results, in the order of the pieces. `ahead` of them are under way at a time."""
        waiting: deque[Future[R]] = deque()
        for piece in pieces:
            waiting.append(self.submit(work, *piece))
            if len(waiting) > self.ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class WorkerPool:
    def __init__(self, executor: Executor, ahead: int) -> None:
        self._executor = executor
        self._ahead = ahead

    def crew(self, name: str, begin: Callable[[], W]) -> Crew[W]:
        """name: another one for each `begin`."""
        return Crew(name, begin, self._executor, self._ahead)


@contextmanager
def worker_pool(processes: int) -> Iterator[WorkerPool]:
    """processes: below two, a thread of this process works instead. Raises WorkersLost."""
    if processes < 2:
        executor: Executor = ThreadPoolExecutor(1, thread_name_prefix="worker")
    else:
        executor = ProcessPoolExecutor(
            processes, mp_context=_start_context(), initializer=_begin_process
        )
    try:
        yield WorkerPool(executor, max(1, processes) + 1)
    except BrokenProcessPool as error:
        raise WorkersLost(
            "a process that took part of the work ended before it was done; where memory is"
            " short, set REPLAY_PROCESSES=1 and try again"
        ) from error
    finally:
        if processes < 2:
            executor.submit(_close_all)
            executor.shutdown()
        else:
            executor.shutdown(cancel_futures=True)


def _start_context() -> BaseContext:
    """Not fork: a copy of this process would have its threads' locks and its connections. A fork of
    a server process that holds nothing but loaded modules starts twice as fast as a fresh process,
    which has to load them."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(LOADED_FIRST))
    return context


_own = threading.local()


def _workers() -> dict[str, Worker]:
    workers: dict[str, Worker] = _own.__dict__.setdefault("workers", {})
    return workers


def _do(name: str, begin: Callable[[], W], work: Callable[..., R], arguments: tuple[Any, ...]) -> R:
    workers = _workers()
    worker = workers.get(name)
    if worker is None:
        worker = workers[name] = begin()
    return work(worker, *arguments)


def _close_all() -> None:
    for worker in _workers().values():
        worker.close()
    _workers().clear()


def _begin_process() -> None:
    # Ctrl-C goes to every process; the one that this one works for decides what happens.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    Finalize(None, _close_all, exitpriority=1)


def _end_with_parent() -> None:
    """Or this process would wait for work for ever after its parent was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
