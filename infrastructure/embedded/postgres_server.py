"""PostgreSQL as a child process: its settings, and how it is stopped."""

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import psutil

from infrastructure.embedded.account import Account, folder_argument
from infrastructure.embedded.data_folder import DataFolder
from infrastructure.embedded.server import Server

READY_LINE = 7  # of postmaster.pid, counted from zero; see src/include/utils/pidfile.h


class PostgresServer(Server):
    name: ClassVar[str] = "PostgreSQL"
    program: ClassVar[str] = "postgres"
    # SIGINT is the fast shutdown: it rolls transactions back and writes a checkpoint, so the next
    # start needs no recovery. SIGTERM would wait for clients, SIGQUIT would skip the checkpoint.
    # Neither of them loses anything. If our process was killed, it holds no connections any more.
    death_signal: ClassVar[signal.Signals] = signal.SIGINT
    # SIGQUIT before SIGKILL, because on SIGQUIT the postmaster ends its own children.
    stop_signals: ClassVar[tuple[signal.Signals, ...]] = (
        (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL) if hasattr(signal, "SIGQUIT") else ()
    )

    def __init__(
        self,
        *,
        data: DataFolder,
        programs: Path,
        account: Account | None,
        start_timeout_s: float,
        stop_timeout_s: float,
        connections_max: int,
        shared_buffers_mb: int,
    ) -> None:
        super().__init__(
            folder=data.cluster,
            log_file=data.postgres_log,
            account=account,
            start_timeout_s=start_timeout_s,
            stop_timeout_s=stop_timeout_s,
            min_free_bytes=data.min_free_bytes,
        )
        self._programs = programs
        self._connections_max = connections_max
        self._shared_buffers_mb = shared_buffers_mb
        self._pid_file = self.folder / "postmaster.pid"

    def command(self) -> Sequence[str]:
        options = [f"--{name}={value}" for name, value in self._settings().items()]
        program = str(self._programs / "bin" / "postgres")
        return [program, "-D", folder_argument(self.folder, self.account), *options]

    def is_ready(self) -> bool:
        lines = self._pid_file_lines()
        return (
            len(lines) > READY_LINE
            and lines[0].strip() == str(self.pid)
            and lines[READY_LINE].strip() == "ready"
        )

    def obeying(
        self, leftovers: list[psutil.Process], number: signal.Signals
    ) -> list[psutil.Process]:
        """For SIGINT the postmaster only: to a backend it means "cancel the query"."""
        if number != signal.SIGINT:
            return leftovers
        postmaster = self._pid_in_file()
        return [process for process in leftovers if process.pid == postmaster]

    def stop_leftovers(self) -> None:
        super().stop_leftovers()
        # If the pid in a stale file now belongs to some other process, PostgreSQL refuses to start.
        # We hold the folder's lock, so no server works in it. Should shared memory still be in use,
        # PostgreSQL refuses even without the file.
        pid = self._pid_in_file()
        if pid is not None and psutil.pid_exists(pid):
            self._pid_file.unlink(missing_ok=True)

    def _pid_in_file(self) -> int | None:
        lines = self._pid_file_lines()
        return int(lines[0]) if lines and lines[0].strip().isdigit() else None

    def _pid_file_lines(self) -> list[str]:
        try:
            return self._pid_file.read_text().splitlines()
        except FileNotFoundError:
            return []

    def _settings(self) -> dict[str, str]:
        """Passed at every start, so that a cluster never keeps settings of an older version."""
        return {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "password_encryption": "scram-sha-256",
            "max_connections": str(self._connections_max),
            "shared_buffers": f"{self._shared_buffers_mb}MB",
            # An acknowledged commit survives a power cut.
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            # Bounds the WAL that is replayed after a crash, and the disk space that it takes.
            "max_wal_size": "512MB",
            # One machine, one database: nothing is replicated from here.
            "max_wal_senders": "0",
            "max_logical_replication_workers": "0",
            "wal_level": "minimal",
            # Worker processes for asynchronous reads would only take memory at this size.
            "io_method": "sync",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            # Statements and their values hold what people wrote, so they are not logged.
            "log_min_error_statement": "panic",
            "log_error_verbosity": "terse",
            "log_checkpoints": "off",
            "log_min_messages": "warning",
        }
