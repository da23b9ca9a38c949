"""The real service as a process of its own, for tests that use it as a person or a fault would."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx
import pytest

from infrastructure.inference.preparing.prepare import prepare_model
from tests.support.models import PREPARED_MODELS
from tests.support.own_places import ROOT
from tests.support.ports import free_port

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0
_POLL_S = 0.05


@dataclass
class RunningService:
    """`chatledger start` on free ports. It can be killed and started again on the same data.

    env: settings beside the defaults of a test. mode: as on the command line.
    """

    data_dir: Path
    mode: str = "api"
    env: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    ui_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ui_url(self) -> str:
        return f"http://127.0.0.1:{self.ui_port}"

    @property
    def log_path(self) -> Path:
        return self.data_dir.parent / f"{self.data_dir.name}.log"

    def start(self, *, ready: bool = True) -> None:
        """Waits for readiness unless told not to. Raises AssertionError with the log."""
        settings = {
            "ENVIRONMENT": "test",
            "MODELS_DIR": str(PREPARED_MODELS),
            "BCRYPT_ROUNDS": "4",
            "DATA_DIR": str(self.data_dir),
            "PORT": str(self.port),
            "UI_PORT": str(self.ui_port),
            "PYTHONPATH": str(ROOT),
            **self.env,
        }
        inherited = {
            name: os.environ[name]
            for name in ("PATH", "HOME", "LD_LIBRARY_PATH", "TMPDIR")
            if name in os.environ
        }
        with self._open_log() as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "interfaces.cli.main", "start", "--mode", self.mode],
                env={**inherited, **settings},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                # Not in the repository, where somebody may have a .env of their own.
                cwd=self.data_dir.parent,
                start_new_session=True,
            )
        if ready:
            self.wait_ready()

    def wait_ready(self) -> None:
        urls = [f"{self.api_url}/readyz"]
        if self.mode == "all":
            urls.append(f"{self.ui_url}/livez")
        deadline = time.monotonic() + START_TIMEOUT_S
        for url in urls:
            while not _answers(url):
                assert self.process is not None
                assert self.process.poll() is None, f"the service ended:\n{self.log()}"
                assert time.monotonic() < deadline, f"{url} does not answer:\n{self.log()}"
                time.sleep(_POLL_S)

    def stop(self) -> int:
        """As Ctrl-C does; returns the exit status."""
        return self._end(signal.SIGINT)

    def terminate(self) -> int:
        """As a service manager does; returns the exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9 of the service itself."""
        self._end(signal.SIGKILL)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the service did not stop:\n{self.log()}") from None

    def _open_log(self) -> IO[bytes]:
        return self.log_path.open("ab")


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="session")
def prepared_models() -> Path:
    return prepare_gemma()


def prepare_gemma() -> Path:
    """The real Gemma 3 270M, prepared once for all runs of the tests; the folder of models."""
    PREPARED_MODELS.mkdir(parents=True, exist_ok=True)
    prepare_model("gemma3-270m", PREPARED_MODELS, lambda _fraction, _sentence: None)
    return PREPARED_MODELS


@pytest.fixture(scope="session")
def running_service(prepared_models: Path) -> Iterator[RunningService]:
    """One service for all tests that do it no harm."""
    assert prepared_models.exists()
    with whole_service() as service:
        yield service


@contextmanager
def whole_service() -> Iterator[RunningService]:
    """API, chat page, PostgreSQL, NATS and the prepared Gemma, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="chatledger-") as folder:
        os.chmod(folder, 0o755)  # noqa: PTH101 - PostgreSQL's own user has to pass through
        service = RunningService(data_dir=Path(folder) / "data", mode="all")
        service.start()
        try:
            yield service
        finally:
            service.stop()
