"""A NATS server for one test, to be killed, frozen and wiped."""

import json
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from infrastructure.embedded.programs import nats_executable

START_TIMEOUT_S = 20.0


class OwnNats:
    """On one port for its whole life, so that clients find it again. payload_bytes_max: of one
    message, headers included. configuration: in the place of our own, but for port and folder."""

    def __init__(
        self, folder: Path, *, payload_bytes_max: int = 2**20, configuration: str = ""
    ) -> None:
        self._store = folder / "store"
        self._config = folder / "nats.conf"
        self._log = folder / "nats.log"
        self.port = _free_port()
        self._config.write_text(
            json.dumps(
                {
                    "listen": f"127.0.0.1:{self.port}",
                    "max_payload": payload_bytes_max,
                    "jetstream": {"store_dir": str(self._store)},
                    "authorization": {"users": [{"user": "test", "password": "nats-secret"}]},
                }
            )
        )
        if configuration:
            given = configuration.replace("127.0.0.1:4222", f"127.0.0.1:{self.port}")
            self._config.write_text(given.replace("/var/lib/nats", str(self._store)))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.url_of("test", "nats-secret")

    def url_of(self, user: str, password: str) -> str:
        return f"nats://{user}:{password}@127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it takes connections, which it does once JetStream is there."""
        assert self._process is None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(nats_executable()), "--config", str(self._config)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self._process.poll() is None, self._log.read_text()
                assert time.monotonic() < deadline, self._log.read_text()
                time.sleep(0.01)

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def wipe(self) -> None:
        assert self._process is None
        shutil.rmtree(self._store)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
