"""The thread that owns the servers: it starts them, restarts those that die, and stops them."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import psutil
import structlog

from infrastructure.embedded.errors import EmbeddedServerError
from infrastructure.embedded.processes import bound_log
from infrastructure.embedded.server import Server

WATCH_INTERVAL_S = 0.1
LOG_CHECK_INTERVAL_S = 10.0
FIRST_DELAY_S = 0.25
DELAY_S_MAX = 5.0

log = structlog.get_logger()

Report = Callable[[str], None]


class RestartBudget:
    """At most `restarts_max` restarts within any `window_s`, with a growing delay before each."""

    def __init__(self, *, restarts_max: int, window_s: float) -> None:
        self._restarts_max = restarts_max
        self._window_s = window_s
        self._taken: deque[float] = deque()

    def take(self, now_s: float) -> float | None:
        """Seconds to wait before the next restart; None if there may be no more for now."""
        while self._taken and self._taken[0] <= now_s - self._window_s:
            self._taken.popleft()
        if len(self._taken) >= self._restarts_max:
            return None
        self._taken.append(now_s)
        recent = len(self._taken) - 1
        return 0.0 if recent == 0 else min(FIRST_DELAY_S * 2.0 ** (recent - 1), DELAY_S_MAX)


class Supervisor:
    """folder_locked: the context in which everything runs. start_servers: runs in it, on the
    supervising thread, and fills `servers`.

    This one thread starts every child and ends after them all, because the signal on the parent's
    death is sent when the thread that forked ends.
    """

    def __init__(
        self,
        *,
        folder_locked: AbstractContextManager[None],
        start_servers: Callable[[Report, threading.Event], None],
        servers: Sequence[Server],
        restarts_max: int,
        restart_window_s: float,
        log_bytes_max: int,
    ) -> None:
        self._folder_locked = folder_locked
        self._start_servers = start_servers
        self._servers = servers
        self._restarts_max = restarts_max
        self._restart_window_s = restart_window_s
        self._log_bytes_max = log_bytes_max
        self._stopping = threading.Event()
        # Server name to the time of its failure in seconds. Replaced as a whole, because other
        # threads read it.
        self._failing: dict[str, float] = {}
        # Progress texts, then None if all servers are up or the error that prevented it.
        self._reports: queue.SimpleQueue[str | BaseException | None] = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=self._run, name="chatledger-embedded-servers", daemon=True
        )

    @property
    def failing(self) -> tuple[str, ...]:
        """Names of servers that died too often. Each is tried again after a window, because what
        stopped it (a full disk, say) may have been mended."""
        return tuple(self._failing)

    def start(self, on_progress: Report) -> None:
        """Wait until all servers are up. Raises what kept them from starting.

        on_progress: is called on the caller's own thread.
        """
        self._thread.start()
        while (report := self._reports.get()) is not None:
            if isinstance(report, BaseException):
                self._thread.join()
                raise report
            on_progress(report)

    def stop(self, timeout_s: float) -> None:
        self._stopping.set()
        if self._thread.ident is None:
            return
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.error("embedded_servers_stop_timed_out", timeout_s=timeout_s)

    def _run(self) -> None:
        try:
            with self._folder_locked:
                try:
                    self._start_servers(self._reports.put, self._stopping)
                    self._reports.put(None)
                    self._watch()
                finally:
                    self._stop_all()
        except Exception as error:
            # start(), which waits for it on another thread, raises it.
            if not isinstance(error, EmbeddedServerError):
                log.exception("embedded_servers_failed")
            self._reports.put(error)

    def _watch(self) -> None:
        budgets = {
            server.name: RestartBudget(
                restarts_max=self._restarts_max, window_s=self._restart_window_s
            )
            for server in self._servers
        }
        logs_checked_s = time.monotonic()
        while not self._stopping.wait(WATCH_INTERVAL_S):
            for server in self._servers:
                if not self._is_paused(server.name) and not server.is_running():
                    self._restart(server, budgets[server.name])
            if time.monotonic() - logs_checked_s >= LOG_CHECK_INTERVAL_S:
                logs_checked_s = time.monotonic()
                self._bound_logs(self._servers)

    def _is_paused(self, name: str) -> bool:
        since = self._failing.get(name)
        return since is not None and time.monotonic() - since < self._restart_window_s

    def _restart(self, server: Server, budget: RestartBudget) -> None:
        log.error("embedded_server_died", server=server.name, exit_status=server.exit_status())
        while not self._stopping.is_set():
            delay_s = budget.take(time.monotonic())
            if delay_s is None:
                self._failing = {**self._failing, server.name: time.monotonic()}
                log.error(
                    "embedded_server_keeps_failing",
                    server=server.name,
                    restarts_max=self._restarts_max,
                    next_try_s=self._restart_window_s,
                    log_file=str(server.log_file),
                )
                return
            if self._stopping.wait(delay_s):
                return
            try:
                server.start(self._stopping)
                self._failing = {
                    name: since for name, since in self._failing.items() if name != server.name
                }
                return
            except (EmbeddedServerError, OSError, psutil.Error) as error:
                log.error("embedded_server_restart_failed", server=server.name, error=str(error))

    def _bound_logs(self, servers: Sequence[Server]) -> None:
        for server in servers:
            try:
                bound_log(server.log_file, self._log_bytes_max)
            except OSError as error:
                log.warning("embedded_server_log_not_bounded", error=str(error))

    def _stop_all(self) -> None:
        for server in reversed(self._servers):
            try:
                server.stop()
            except (EmbeddedServerError, OSError, psutil.Error) as error:
                log.error("embedded_server_stop_failed", server=server.name, error=str(error))
