"""Starts child processes, reads their logs, and finds those that an earlier run has left."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from infrastructure.embedded.account import Account

LAUNCHER = Path(__file__).with_name("launcher.py")
LOG_TAIL_LINES = 12
LOG_TAIL_BYTES = 16 * 1024
POLL_INTERVAL_S = 0.01
# A server gets nothing else of our environment: that may hold secrets, and PG* variables would
# change what PostgreSQL does. The interpreter that runs the launcher needs LD_LIBRARY_PATH.
ENVIRONMENT_KEPT = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")


def spawn(
    command: Sequence[str],
    *,
    folder: Path,
    account: Account | None,
    death_signal: signal.Signals,
    log_file: Path,
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a server in `folder`, as `account`, whose output is appended to `log_file`.

    Call it from a thread that lives as long as the server should: on Linux the server gets
    `death_signal` when that thread ends, however it ends. On other systems the next start stops a
    server that was left over.
    """
    uid, gid = (-1, -1) if account is None else (account.uid, account.gid)
    launch = [sys.executable, "-I", "-S", str(LAUNCHER)]
    launch += [str(os.getpid()), str(int(death_signal)), str(uid), str(gid)]
    environment = {name: os.environ[name] for name in ENVIRONMENT_KEPT if name in os.environ}
    with log_file.open("ab") as log:
        # In a session of its own, because Ctrl-C goes to the whole foreground process group, and
        # the servers must outlive the parts of the service that still use them.
        return subprocess.Popen(  # noqa: S603 - the command is made of our own paths and numbers
            [*launch, *command],
            cwd=folder,
            env={**environment, "LC_ALL": "C"},
            stdin=stdin,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def wait_until(
    done: Callable[[], bool], timeout_s: float, poll_interval_s: float = POLL_INTERVAL_S
) -> bool:
    """Whether `done()` became true within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(poll_interval_s)
    return True


def wait_for_exit(child: subprocess.Popen[bytes], timeout_s: float) -> bool:
    try:
        child.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def processes_in(folder: Path, program: str) -> list[psutil.Process]:
    """Running processes of `program` whose working directory is `folder`.

    Both servers have their data folder as working directory, so this finds them and their own
    children. A pid file is no help: its number may belong to another process by now.
    """
    wanted = os.path.realpath(folder)
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.name()).stem == program and process.cwd() == wanted:
                found.append(process)
        except psutil.Error:
            continue  # It has ended, or belongs to another user and so is not our server.
    return found


def send(processes: Sequence[psutil.Process], signal_number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(signal_number)
        except psutil.Error:
            continue  # It has ended.


def free_port(preferred: int | None = None) -> int:
    """A port of 127.0.0.1 that is free just now: `preferred` if it is."""
    for port in (preferred, 0):
        if port is None:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As the servers do, so that lingering connections of the last run are no obstacle.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                if port == 0:
                    raise
                continue
            return int(probe.getsockname()[1])
    raise AssertionError("binding port 0 either succeeds or raises")


def log_size(log_file: Path) -> int:
    return log_file.stat().st_size if log_file.exists() else 0


def log_tail(log_file: Path, start_bytes: int) -> tuple[str, ...]:
    """The last lines of the log that follow its first `start_bytes`."""
    try:
        with log_file.open("rb") as log:
            log.seek(max(start_bytes, log_size(log_file) - LOG_TAIL_BYTES))
            text = log.read(LOG_TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return ()
    return tuple(text.splitlines()[-LOG_TAIL_LINES:])


def bound_log(log_file: Path, bytes_max: int) -> None:
    """Move a log that is larger than `bytes_max` to a file beside it, of which there is only one.

    It is copied and truncated, not renamed, because a running server has the file open. The server
    appends, so it goes on at the new end.
    """
    if log_size(log_file) > bytes_max:
        shutil.copyfile(log_file, log_file.with_name(f"{log_file.name}.1"))
        os.truncate(log_file, 0)
