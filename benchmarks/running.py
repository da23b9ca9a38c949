"""`chatledger start` as a process of its own, as an operator would start it."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

START_TIMEOUT_S = 240.0
STOP_TIMEOUT_S = 40.0
_POLL_S = 0.01
_INHERITED = ("PATH", "HOME", "LD_LIBRARY_PATH", "TMPDIR", "LANG")


@dataclass(frozen=True, kw_only=True)
class Memory:
    """In MB of 10^6 bytes. rss: of the API process alone. peak: its highest rss so far. children:
    of the other processes, by name, in unique set size, because PostgreSQL's processes share most
    of their memory."""

    rss: float
    peak: float
    children: dict[str, float]


@dataclass
class Service:
    """folder: for all files of this run. env: settings other than the defaults."""

    folder: Path
    mode: str = "api"
    skip_init: bool = False
    env: dict[str, str] = field(default_factory=dict)
    port: int = 0
    ui_port: int = 0
    started_at: float = 0.0
    _process: subprocess.Popen[bytes] | None = None

    def start(self, *, ready: str = "/readyz") -> float:
        """Seconds until the path `ready` answered 200. Raises RuntimeError, with the last lines of
        the log."""
        self.port = self.port or _free_port()
        self.ui_port = self.ui_port or _free_port()
        settings = {
            "DATA_DIR": str(self.folder / "data"),
            "PORT": str(self.port),
            "UI_PORT": str(self.ui_port),
            "REGISTRATIONS_PER_MINUTE": "100000",
            "ADDRESS_REQUESTS_PER_MINUTE": "100000",
            "PASSWORD_HASHES_PER_MINUTE": "100000",
            "PASSWORD_QUEUE_MAX": "1000",
            "PASSWORD_QUEUE_ADDRESS_MAX": "1000",
            "PASSWORD_WAIT_S_MAX": "60",
            **self.env,
        }
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        command = [sys.executable, "-m", "interfaces.cli.main", "start", "--mode", self.mode]
        if self.skip_init:
            command.append("--skip-init")
        with (self.folder / "service.log").open("ab") as log:
            self.started_at = time.perf_counter()
            self._process = subprocess.Popen(
                command,
                env={**inherited, **settings},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=Path(__file__).parents[1],
            )
        self._wait_for(ready)
        return time.perf_counter() - self.started_at

    def _wait_for(self, path: str) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while _status(self.port, path) != 200:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{path} does not answer:\n{self._log()}")
            time.sleep(_POLL_S)

    def memory(self) -> Memory:
        assert self._process is not None
        main = psutil.Process(self._process.pid)
        children: dict[str, float] = {}
        for child in main.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                used = child.memory_full_info().uss / 1e6
                children[child.name()] = round(children.get(child.name(), 0.0) + used, 1)
        return Memory(
            rss=main.memory_info().rss / 1e6, peak=_peak_bytes(main.pid) / 1e6, children=children
        )

    def cpu_s(self) -> float:
        """Processor time of the API process so far."""
        assert self._process is not None
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def stop(self) -> None:
        """Stops it as Ctrl-C does, and by force where that takes too long."""
        process = self._process
        if process is None:
            return
        self._process = None
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _log(self) -> str:
        return (self.folder / "service.log").read_text(errors="replace")[-4000:]


@contextlib.contextmanager
def running(service: Service) -> Iterator[Service]:
    """Started on entry, stopped however the block ends."""
    try:
        service.start()
        yield service
    finally:
        service.stop()


def _status(port: int, path: str) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()


def _peak_bytes(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return float(line.split()[1]) * 1024
    return 0.0


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
