"""What can go wrong with the embedded servers.

EmbeddedServerError          the text says in one sentence what to do
├── DataDirInUse             another process holds the data folder
├── DataDirNotWritable       read-only, not ours, or not a folder
├── DiskFull                 no room at start, or the disk filled while starting
├── ServerDidNotStart        a server ended or stayed silent; carries its last log lines
│   └── PortTaken            another program was quicker; another port may work
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
    """`free_bytes` is None when a server met the end of the disk before we did."""

    def __init__(self, data_dir: Path, *, free_bytes: int | None, needed_bytes: int) -> None:
        self.data_dir = data_dir
        found = "is full" if free_bytes is None else f"has {free_bytes // 2**20} MiB free"
        super().__init__(
            f"The disk of the data folder {data_dir} {found}: free at least"
            f" {needed_bytes // 2**20} MiB there, or set DATA_DIR to a folder on another disk."
        )


class ServerDidNotStart(EmbeddedServerError):
    """`log_lines` are the last lines that the server wrote in this start, oldest first."""

    def __init__(
        self, server: str, reason: str, *, log_file: Path, log_lines: tuple[str, ...] = ()
    ) -> None:
        self.server = server
        self.log_file = log_file
        self.log_lines = log_lines
        shown = "".join(f"\n  {line}" for line in log_lines)
        super().__init__(f"{server} did not start ({reason}); its log is {log_file}.{shown}")


class PortTaken(ServerDidNotStart):
    """The port that was free a moment ago is bound by another program."""


class StartInterrupted(EmbeddedServerError):
    """`stop()` was called while a server was starting; nobody needs to be told."""


def from_os_error(error: OSError, data_dir: Path, needed_bytes: int) -> EmbeddedServerError:
    """The sentence for an error that the operating system gave while we wrote our own files."""
    if error.errno in DISK_FULL_ERRNOS:
        return DiskFull(data_dir, free_bytes=None, needed_bytes=needed_bytes)
    return DataDirNotWritable(data_dir, (error.strerror or str(error)).lower())
