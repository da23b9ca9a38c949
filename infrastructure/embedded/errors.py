"""What can go wrong with the embedded servers.

EmbeddedServerError          the text says what to do
├── DataDirInUse             another process holds the data folder
├── DataDirNotWritable       read-only, not ours, or not a folder
├── DiskFull                 too little room at the start, or none left during it
├── ServerDidNotStart        a server ended or was not ready in time; has its last log lines
│   └── PortTaken            another program has the port; another port may work
└── StartInterrupted         `stop()` was called while a server was starting
"""

import errno
from pathlib import Path

DISK_FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT})
DISK_FULL_TEXT = "No space left on device"


class EmbeddedServerError(Exception):
    """The embedded PostgreSQL and NATS cannot be used; the text says what to do."""


class DataDirInUse(EmbeddedServerError):
    def __init__(self, data_dir: Path, pid: int | None) -> None:
        self.data_dir = data_dir
        self.pid = pid
        holder = "another process" if pid is None else f"process {pid}"
        super().__init__(
            f"The data folder {data_dir} is in use by {holder}: stop that one,"
            " or set DATA_DIR to another folder."
        )


class DataDirNotWritable(EmbeddedServerError):
    def __init__(self, data_dir: Path, reason: str) -> None:
        self.data_dir = data_dir
        super().__init__(
            f"The data folder {data_dir} cannot be written ({reason}):"
            " make it writable, or set DATA_DIR to a folder that is."
        )


class DiskFull(EmbeddedServerError):
    """free_bytes: None if a server found the disk full before we did."""

    def __init__(self, data_dir: Path, *, free_bytes: int | None, needed_bytes: int) -> None:
        self.data_dir = data_dir
        found = "is full" if free_bytes is None else f"has {free_bytes // 2**20} MiB free"
        super().__init__(
            f"The disk of the data folder {data_dir} {found}: free at least"
            f" {needed_bytes // 2**20} MiB there, or set DATA_DIR to a folder on another disk."
        )


class ServerDidNotStart(EmbeddedServerError):
    """log_lines: the last lines that the server wrote in this start, oldest first."""

    def __init__(
        self, server: str, reason: str, *, log_file: Path, log_lines: tuple[str, ...] = ()
    ) -> None:
        self.server = server
        self.log_file = log_file
        self.log_lines = log_lines
        shown = "".join(f"\n  {line}" for line in log_lines)
        super().__init__(f"{server} did not start ({reason}); its log is {log_file}.{shown}")


class PortTaken(ServerDidNotStart):
    """Another program has bound the port that was free a moment ago."""


class StartInterrupted(EmbeddedServerError):
    """`stop()` was called while a server was starting. Not a fault, so nobody is told."""


def from_os_error(error: OSError, data_dir: Path, needed_bytes: int) -> EmbeddedServerError:
    """Turns an operating system's error about our own files into one that says what to do."""
    if error.errno in DISK_FULL_ERRNOS:
        return DiskFull(data_dir, free_bytes=None, needed_bytes=needed_bytes)
    return DataDirNotWritable(data_dir, (error.strerror or str(error)).lower())
