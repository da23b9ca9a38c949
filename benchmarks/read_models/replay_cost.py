"""What each part of a rebuild and of a verification costs: time, and processor time of Python and
of PostgreSQL, which depends less on other work on the machine."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil
import psycopg

from benchmarks.keys import EVENT_MACS, LEDGER_KEYS
from infrastructure.log.reader import LoggedEvent, ReadBounds
from infrastructure.log.workers import WorkerPool
from infrastructure.process.garbage import collection_paused
from infrastructure.proofs.verify.chain import verify_chain
from infrastructure.proofs.verify.events import read_entries
from infrastructure.proofs.verify.read_models import verify_read_models
from infrastructure.proofs.verify.streams import verify_streams
from infrastructure.read_models.rebuild.rebuild import rebuild
from infrastructure.read_models.rebuild.shadow_tables import SHADOW_SCHEMA, ReplayBounds
from infrastructure.read_models.rebuild.stretch import Folder, FoldPlan
from infrastructure.read_models.row_sql import RowSql
from projections.registry import PROJECTIONS

_FLOOR_ROUNDS = 9
_LOOKED_EVERY_S = 0.05
# The server counts the time of a process that has ended a moment later.
_ENDED_WITHIN_S = 1.0
_COLUMNS = "notification_id, topic, originator_id, originator_version, state"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """python_s and server_s: processor time."""

    what: str
    events: int
    seconds: float
    python_s: float
    server_s: float

    def __str__(self) -> str:
        python_us, server_us = (s / self.events * 1e6 for s in (self.python_s, self.server_s))
        return (
            f"{self.what:34} {self.events / self.seconds:9,.0f}/s"
            f"   {python_us:6.2f} µs Python   {server_us:6.2f} µs PostgreSQL an event"
        )


class Meter:
    """connection: to the server whose processes are measured; it runs on this machine."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._postmaster = psutil.Process(connection.info.backend_pid).parent()
        self.costs: list[Cost] = []

    def run(self, what: str, events: int, work: Callable[[], object]) -> None:
        server_s, python_s, began = self._server_s(), _python_s(), time.perf_counter()
        work()
        seconds = time.perf_counter() - began
        time.sleep(_ENDED_WITHIN_S)
        self.costs.append(
            Cost(
                what=what,
                events=events,
                seconds=seconds,
                python_s=_python_s() - python_s,
                server_s=self._server_s() - server_s,
            )
        )
        print(self.costs[-1], flush=True)

    def _server_s(self) -> float:
        assert self._postmaster is not None
        own = self._postmaster.cpu_times()
        total = own.user + own.system + own.children_user + own.children_system
        for child in self._postmaster.children():
            try:
                times = child.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
        return float(total)


def _python_s() -> float:
    """Processor time of this process and its workers. One process starts the workers, and counts
    the time of those that have ended."""
    total = 0.0
    for process in _python_processes():
        times = process.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _python_processes() -> list[psutil.Process]:
    own = psutil.Process()
    return [own, *(child for child in own.children() if "python" in child.name())]


class MemoryWatch:
    """Watches the memory of this process and of every worker, in MB of RSS. all_mb: of all of them;
    pages that they share count once for each."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.own_mb = self.worker_mb = self.all_mb = 0

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        own = psutil.Process()
        while not self._done.wait(_LOOKED_EVERY_S):
            mine = own.memory_info().rss >> 20
            workers = [0]
            for child in own.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if "python" in child.name():
                        workers.append(child.memory_info().rss >> 20)
            self.own_mb = max(self.own_mb, mine)
            self.worker_mb = max(self.worker_mb, *workers)
            self.all_mb = max(self.all_mb, mine + sum(workers))

    def __str__(self) -> str:
        return (
            f"peak {self.own_mb} MB, of the largest worker {self.worker_mb} MB, of all"
            f" {self.all_mb} MB; load {os.getloadavg()[0]:.1f}"
        )


def measure_round(service_url: str, processes: int) -> list[Cost]:
    """A rebuild and each part of a verification, in turn."""
    bounds = ReplayBounds(processes=processes)
    with (
        psycopg.connect(service_url, autocommit=True) as connection,
        MemoryWatch() as memory,
    ):
        row = connection.execute(
            "SELECT count(*), max(notification_id) FROM ledger.ledger_events"
        ).fetchone()
        assert row is not None
        events, head = row
        meter = Meter(connection)
        meter.run(
            "rebuild",
            events,
            lambda: asyncio.run(
                rebuild([], service_url, lambda _done: None, bounds=bounds, macs=EVENT_MACS)
            ),
        )

        def in_pool(work: Callable[[WorkerPool], Any]) -> Callable[[], None]:
            def run() -> None:
                with bounds.pool(head) as pool:
                    found = work(pool)
                parts = found if isinstance(found, list) else [found]
                assert not any(part.findings.count for part in parts), parts

            return run

        meter.run(
            "verify: log and chain",
            events,
            in_pool(
                lambda pool: verify_chain(
                    connection,
                    read_entries(connection, pool, service_url, until=head, connect_timeout_s=5),
                    [],
                    until=head,
                    on_progress=lambda _done: None,
                )
            ),
        )
        meter.run(
            "verify: streams",
            events,
            in_pool(
                lambda pool: verify_streams(
                    pool,
                    service_url,
                    LEDGER_KEYS,
                    until=head,
                    connect_timeout_s=5,
                    on_progress=lambda _done: None,
                )
            ),
        )
        meter.run(
            "verify: read models",
            events,
            in_pool(
                lambda pool: asyncio.run(
                    verify_read_models(
                        pool, service_url, EVENT_MACS, bounds=bounds, on_progress=lambda _done: None
                    )
                )
            ),
        )
    print(memory, flush=True)
    return meter.costs


def floors(service_url: str) -> None:
    """Prints the time of each step of folding, by one process on 10,000 events: the fastest of
    several rounds, as other work on the machine only ever adds to it."""
    plan = FoldPlan(
        service_url=service_url,
        sql=asyncio.run(_sql(service_url)),
        positions={projection.name: 0 for projection in PROJECTIONS},
        bounds=ReadBounds(events_max=10_000, bytes_max=64 * 2**20),
        connect_timeout_s=5,
        macs=EVENT_MACS,
    )
    folder = Folder(plan)
    best: dict[str, float] = {}
    with psycopg.connect(service_url, autocommit=True) as connection, collection_paused():
        for _ in range(_FLOOR_ROUNDS):
            _copy_out(connection, best)
            _steps(folder, connection, best)
    folder.close()
    for what, us in best.items():
        print(f"{what:44} {us:6.2f} µs an event, {1e6 / us:10,.0f}/s")


async def _sql(service_url: str) -> RowSql:
    async with await psycopg.AsyncConnection.connect(service_url) as connection:
        return await RowSql.load(connection, SHADOW_SCHEMA)


def _copy_out(connection: psycopg.Connection[Any], best: dict[str, float]) -> None:
    copy = (
        f"COPY (SELECT {_COLUMNS} FROM ledger.ledger_events WHERE notification_id <= 10000"
        " ORDER BY notification_id) TO STDOUT (FORMAT binary)"
    )
    began = time.perf_counter()
    with connection.cursor() as cursor, cursor.copy(copy.encode()) as stream:
        for _ in stream:
            pass
    _keep(best, "COPY out in binary, thrown away (time)", time.perf_counter() - began)


def _steps(folder: Folder, connection: psycopg.Connection[Any], best: dict[str, float]) -> None:
    def timed(what: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = work()
        _keep(best, what, time.process_time() - began)
        return result

    with connection.cursor(binary=True) as cursor:
        cursor.execute(
            f"SELECT {_COLUMNS} FROM ledger.ledger_events WHERE notification_id <= 10000"
            " ORDER BY notification_id".encode()
        )
        logged = [LoggedEvent(*row) for row in cursor.fetchall()]
    timed("decoding and believing events", lambda: [each.decode(EVENT_MACS) for each in logged])
    _, rows = timed("fetching rows", lambda: folder.read(0, 10_000))
    made = timed("decoding events, projecting", lambda: list(folder.changes(rows)))
    folds = timed("folding row changes", lambda: folder.folds(made))
    timed("making CSV and statements", lambda: [folder.part(fold) for fold in folds])


def _keep(best: dict[str, float], what: str, seconds: float) -> None:
    us = seconds / 10_000 * 1e6
    best[what] = min(us, best.get(what, us))
