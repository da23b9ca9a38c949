"""Python environments apart from the service's, each with its own pins, made on first use.

Tools that need torch, or versions that conflict with the service's, run in one of these, as a
process of their own. The stamp is written last, so an environment with a stamp is complete. An
interrupted installation is continued: pip skips what is installed and keeps what it has fetched.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

Say = Callable[[str], None]

# Pinned without CUDA's libraries, so pip takes the build for the CPU if the index has one.
TORCH = "torch==2.13.0"

# For each command: torch is large, and some packages are compiled during the installation.
_STEP_TIMEOUT_S = 3600.0
_STAMP = "pins.stamp"
_TAIL_LINES = 40
_SIGKILL = 9
_NO_INDEX = (
    "name resolution",
    "NewConnectionError",
    "NameResolutionError",
    "Max retries exceeded",
    "Connection refused",
    "Network is unreachable",
    "(from versions: none)",
    "timed out",
)
NO_SPACE = ("No space left on device", "Disk quota exceeded")


class EnvironmentMissing(Exception):
    """The environment cannot be made here. The text says why and what to change."""


class CommandFailed(Exception):
    """tail: the last lines that the command printed, oldest first. killed: by a SIGKILL from the
    system or from somebody else."""

    def __init__(self, what: str, tail: Sequence[str], *, killed: bool = False) -> None:
        self.tail = tuple(tail)
        self.killed = killed
        super().__init__(f"{what}: {tail[-1][:300] if tail else 'nothing was printed'}")

    def says(self, words: Sequence[str]) -> bool:
        return any(word in line for line in self.tail for word in words)


@dataclass(frozen=True, kw_only=True)
class OwnEnvironment:
    """pins: a requirements file. with_torch: torch is installed first and alone, because together
    with other requirements pip may take a build with CUDA. needed_bytes: the free disk space that
    making it takes. pythons: the first and last minor version of Python 3 that has all the pins."""

    folder: Path
    pins: Path
    with_torch: bool = True
    needed_bytes: int = 0
    pythons: tuple[int, int] = (11, 14)

    @property
    def python(self) -> Path:
        return self.script("python")

    def script(self, name: str) -> Path:
        windows = os.name == "nt"
        return self.folder / ("Scripts" if windows else "bin") / (name + ".exe" * windows)

    @property
    def log(self) -> Path:
        """The installer's output. It is beside the folder, so that it survives a failure."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def ready(self) -> bool:
        return self.python.exists() and self._stamped() == self._wanted()

    def make(self, say: Say = lambda _: None) -> Path:
        """Make the environment if it is missing or has other pins, one process at a time. Returns
        its Python interpreter. Raises EnvironmentMissing."""
        from filelock import FileLock, Timeout

        if self.ready:
            return self.python
        self._refuse_what_cannot_work()
        lock = self.folder.with_name(f".{self.folder.name}.lock")
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(lock, timeout=_STEP_TIMEOUT_S):
                if not self.ready:
                    self._make(say)
        except Timeout as error:
            raise EnvironmentMissing(
                f"another process has been making {self.folder} for an hour: wait for it or stop it"
            ) from error
        except OSError as error:
            raise EnvironmentMissing(
                f"{self.folder} cannot be made: {error.strerror or error}"
            ) from error
        return self.python

    def _make(self, say: Say) -> None:
        if self._stamped() is not None:
            say(f"Removing {self.folder}, which has other versions.")
            shutil.rmtree(self.folder)
        self.log.unlink(missing_ok=True)
        say(f"Making {self.folder}.")
        try:
            self._run([sys.executable, "-m", "venv", str(self.folder)], say)
            install = [str(self.python), "-m", "pip", "install", "--progress-bar", "off"]
            if self.with_torch:
                self._run([*install, TORCH], say)
            self._run([*install, "-r", str(self.pins)], say)
        except CommandFailed as error:
            raise EnvironmentMissing(self._explained(error)) from error
        (self.folder / _STAMP).write_text(self._wanted())

    def _run(self, command: Sequence[str], say: Say) -> None:
        def show(line: str) -> None:
            if sentence := _sentence(line):
                say(sentence)

        run_logged(
            command, self.log, on_line=show, environment={"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        )

    def _refuse_what_cannot_work(self) -> None:
        first, last = self.pythons
        if not first <= sys.version_info.minor <= last:
            raise EnvironmentMissing(
                f"{self.pins.name} has no packages for Python 3.{sys.version_info.minor}: run this"
                f" command with a Python from 3.{first} to 3.{last}"
            )
        at = next(path for path in (self.folder, *self.folder.parents) if path.exists())
        free = shutil.disk_usage(at).free + _size(self.folder)
        if free < self.needed_bytes:
            raise EnvironmentMissing(
                f"{self.folder} takes {self.needed_bytes / 1e9:.1f} GB, but only"
                f" {free / 1e9:.1f} GB are free: free some space or choose another data folder"
            )

    def _explained(self, error: CommandFailed) -> str:
        if error.says(NO_SPACE):
            return (
                f"the disk was full while {self.folder} was made: free some space and run the"
                " command again, which goes on from there"
            )
        if error.says(_NO_INDEX):
            return (
                f"the packages of {self.folder} cannot be fetched: connect this machine to a"
                " package index (or name one in PIP_INDEX_URL) and run the command again, which"
                f" goes on from there; pip's own words are in {self.log}"
            )
        return f"{error}; all of it is in {self.log}"

    def _wanted(self) -> str:
        first = TORCH if self.with_torch else ""
        return hashlib.sha256(first.encode() + self.pins.read_bytes()).hexdigest()

    def _stamped(self) -> str | None:
        with suppress(OSError):
            return (self.folder / _STAMP).read_text()
        return None


def run_logged(
    command: Sequence[str],
    log: Path,
    *,
    on_line: Say = lambda _: None,
    timeout_s: float = _STEP_TIMEOUT_S,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a command to its end. Its output goes into the log and, line by line, to on_line.

    environment: variables in addition to this process's. Raises CommandFailed, OSError.
    """
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    with log.open("a", encoding="utf-8") as file:
        process = subprocess.Popen(  # noqa: S603  every command is this project's own
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **(environment or {})},
        )
        timer = threading.Timer(timeout_s, process.kill)
        timer.daemon = True
        timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                file.write(line)
                if line.strip():
                    tail.append(line.strip())
                on_line(line)
            status = process.wait()
        finally:
            late = not timer.is_alive()
            timer.cancel()
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
    if status:
        name = Path(command[0]).name
        reason = f"ran for more than {timeout_s:.0f} s" if late else f"ended with {status}"
        raise CommandFailed(f"{name} {reason}", tail, killed=not late and status == -_SIGKILL)


def _sentence(line: str) -> str:
    """A line of pip's output as a sentence for people, or an empty text."""
    words = line.split()
    match words[:2]:
        case ["Collecting", name]:
            return f"Fetching {name}."
        case ["Building", "wheel"]:
            return f"Compiling {words[3]}." if len(words) > 3 else ""
        case ["Installing", "collected"]:
            return f"Installing {len(words) - 3} packages."
    return ""


def _size(folder: Path) -> int:
    """Bytes that an interrupted run has left, which count as free."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
