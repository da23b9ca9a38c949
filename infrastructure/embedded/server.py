"""What PostgreSQL and NATS have in common as child processes."""

import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import psutil
import structlog

from infrastructure.embedded.account import Account
from infrastructure.embedded.errors import (
    DISK_FULL_TEXT,
    DiskFull,
    EmbeddedServerError,
    PortTaken,
    ServerDidNotStart,
    StartInterrupted,
)
from infrastructure.embedded.processes import (
    POLL_INTERVAL_S,
    free_port,
    log_size,
    log_tail,
    processes_in,
    send,
    spawn,
    wait_for_exit,
    wait_until,
)

PORT_ATTEMPTS_MAX = 5
LAST_RESORT_TIMEOUT_S = 5.0
LEFTOVER_POLL_INTERVAL_S = 0.05

log = structlog.get_logger()


class Server(ABC):
    """One child. Only the supervising thread may call methods; properties are for any thread."""

    name: ClassVar[str]
    program: ClassVar[str]  # its name in the system's process list
    death_signal: ClassVar[signal.Signals]
    # Signals that end it, the mildest first. It has `stop_timeout_s` to obey the first.
    stop_signals: ClassVar[tuple[signal.Signals, ...]]

    def __init__(
        self,
        *,
        folder: Path,
        log_file: Path,
        account: Account | None,
        start_timeout_s: float,
        stop_timeout_s: float,
        min_free_bytes: int,
    ) -> None:
        self.folder = folder
        self.log_file = log_file
        self.account = account
        self.start_timeout_s = start_timeout_s
        self.stop_timeout_s = stop_timeout_s
        self.min_free_bytes = min_free_bytes
        self.port = 0
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start_bytes = 0

    @property
    def pid(self) -> int | None:
        return None if self._child is None else self._child.pid

    @abstractmethod
    def command(self) -> Sequence[str]: ...

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether the child itself, and not another program on its port, takes connections."""

    def is_running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def exit_status(self) -> int | None:
        return None if self._child is None else self._child.returncode

    def start_on_free_port(self, remembered_port: int | None, stopping: threading.Event) -> None:
        """Start on the port of the last run, or on another port if that one is taken."""
        self.stop_leftovers()  # They may hold the port of the last run.
        preferred = remembered_port
        for attempt in range(1, PORT_ATTEMPTS_MAX + 1):
            self.port = free_port(preferred)
            try:
                return self.start(stopping)
            except PortTaken:
                if attempt == PORT_ATTEMPTS_MAX:
                    raise
                preferred = None
        return None

    def start(self, stopping: threading.Event) -> None:
        """Start on `self.port` and wait until the server is ready.

        Raises ServerDidNotStart (PortTaken), DiskFull or StartInterrupted; then no child is left.
        """
        began = time.monotonic()
        self.stop_leftovers()
        self._log_start_bytes = log_size(self.log_file)
        self._child = spawn(
            self.command(),
            folder=self.folder,
            account=self.account,
            death_signal=self.death_signal,
            log_file=self.log_file,
        )
        try:
            self._wait_until_ready(began + self.start_timeout_s, stopping)
        except BaseException:
            self.stop()
            raise
        log.info(
            "embedded_server_started",
            server=self.name,
            pid=self.pid,
            port=self.port,
            duration_s=round(time.monotonic() - began, 3),
        )

    def stop(self) -> None:
        """End the child and the processes that it leaves behind, if there is one."""
        child, self._child = self._child, None
        if child is None:
            return
        timeout_s = self.stop_timeout_s
        for number in self.stop_signals:
            if child.poll() is not None:
                break
            child.send_signal(number)
            if wait_for_exit(child, timeout_s):
                break
            log.warning("embedded_server_stop_slow", server=self.name, signal=number.name)
            timeout_s = min(self.stop_timeout_s, LAST_RESORT_TIMEOUT_S)
        log.info("embedded_server_stopped", server=self.name, exit_status=child.returncode)
        if child.returncode != 0:
            self.stop_leftovers()

    def leftovers(self) -> list[psutil.Process]:
        """Processes of this program that work in our folder."""
        return processes_in(self.folder, self.program)

    @abstractmethod
    def obeying(
        self, leftovers: list[psutil.Process], number: signal.Signals
    ) -> list[psutil.Process]:
        """Those of `leftovers` that the signal `number` would end."""

    def stop_leftovers(self) -> None:
        """End the servers that an earlier run has left in this folder, whose lock we hold."""
        timeout_s = self.stop_timeout_s
        for number in self.stop_signals:
            leftovers = self.leftovers()
            if not leftovers:
                return
            obeying = self.obeying(leftovers, number)
            if obeying:
                pids = [process.pid for process in leftovers]
                log.warning(
                    "embedded_server_left_over", server=self.name, pids=pids, signal=number.name
                )
                send(obeying, number)
                if wait_until(lambda: not self.leftovers(), timeout_s, LEFTOVER_POLL_INTERVAL_S):
                    return
            timeout_s = min(self.stop_timeout_s, LAST_RESORT_TIMEOUT_S)
        pids = [process.pid for process in self.leftovers()]
        if pids:
            reason = f"processes {pids} of an earlier run do not end; end them and start again"
            raise ServerDidNotStart(self.name, reason, log_file=self.log_file)

    def failure(self, reason: str) -> EmbeddedServerError:
        """The error that fits the last lines of the log."""
        lines = log_tail(self.log_file, self._log_start_bytes)
        text = "\n".join(lines)
        if DISK_FULL_TEXT.lower() in text.lower():
            return DiskFull(self.folder, free_bytes=None, needed_bytes=self.min_free_bytes)
        kind = PortTaken if "address already in use" in text.lower() else ServerDidNotStart
        return kind(self.name, reason, log_file=self.log_file, log_lines=lines)

    def _wait_until_ready(self, deadline: float, stopping: threading.Event) -> None:
        assert self._child is not None
        while not self.is_ready():
            if stopping.is_set():
                raise StartInterrupted(f"{self.name} was stopped while it was starting")
            if self._child.poll() is not None:
                raise self.failure(f"it ended with status {self._child.returncode}")
            if time.monotonic() >= deadline:
                raise self.failure(f"it was not ready within {self.start_timeout_s:g} s")
            time.sleep(POLL_INTERVAL_S)
