"""nats-server with JetStream as a child process."""

import json
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import psutil

from infrastructure.embedded.data_folder import DataFolder, Secrets
from infrastructure.embedded.server import Server
from infrastructure.relay.permissions import reader_permissions, relay_permissions

RELAY_USER = "chatledger_relay"
READER_USER = "chatledger_reader"
PROBE_TIMEOUT_S = 1.0
INFO_BYTES_MAX = 64 * 1024


class NatsServer(Server):
    """Runs as our own user, because nats-server, unlike PostgreSQL, may run as root."""

    name: ClassVar[str] = "NATS"
    program: ClassVar[str] = "nats-server"
    # SIGTERM flushes and closes the streams; the store is safe under SIGKILL, too.
    death_signal: ClassVar[signal.Signals] = signal.SIGTERM
    stop_signals: ClassVar[tuple[signal.Signals, ...]] = (signal.SIGTERM, signal.SIGKILL)

    def __init__(
        self,
        *,
        data: DataFolder,
        secrets: Secrets,
        executable: Path,
        start_timeout_s: float,
        stop_timeout_s: float,
        payload_bytes_max: int,
        store_bytes_max: int,
        memory_bytes_max: int,
        sync_interval: str,
        stream: str,
    ) -> None:
        super().__init__(
            folder=data.nats_store,
            log_file=data.nats_log,
            account=None,
            start_timeout_s=start_timeout_s,
            stop_timeout_s=stop_timeout_s,
            min_free_bytes=data.min_free_bytes,
        )
        self._data = data
        self._secrets = secrets
        self._executable = executable
        self._payload_bytes_max = payload_bytes_max
        self._store_bytes_max = store_bytes_max
        self._memory_bytes_max = memory_bytes_max
        self._sync_interval = sync_interval
        self._stream = stream

    @property
    def url(self) -> str:
        return relay_url(self._secrets, self.port)

    @property
    def read_url(self) -> str:
        return reader_url(self._secrets, self.port)

    def command(self) -> Sequence[str]:
        """The passwords are in a file that only we can read, because everybody can see a command
        line."""
        self._data.write_nats_config(json.dumps(self._config(), indent=1))
        return [str(self._executable), "--config", str(self._data.nats_config)]

    def is_ready(self) -> bool:
        """JetStream recovers before the server listens, so a greeting means that it is ready."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), PROBE_TIMEOUT_S) as connection:
                connection.settimeout(PROBE_TIMEOUT_S)
                with connection.makefile("rb") as lines:
                    greeting = lines.readline(INFO_BYTES_MAX)
            info = json.loads(greeting.removeprefix(b"INFO "))
        except (OSError, ValueError):
            return False
        return bool(info.get("server_name") == self._secrets.nats_server_name)

    def obeying(
        self,
        leftovers: list[psutil.Process],
        number: signal.Signals,  # noqa: ARG002 - each signal ends any of them
    ) -> list[psutil.Process]:
        return leftovers

    def _config(self) -> dict[str, object]:
        # nats-server's configuration language contains JSON.
        return {
            "listen": f"127.0.0.1:{self.port}",
            "server_name": self._secrets.nats_server_name,
            "max_payload": self._payload_bytes_max,
            "jetstream": {
                "store_dir": str(self.folder),
                "max_file_store": self._store_bytes_max,
                "max_memory_store": self._memory_bytes_max,
                "sync_interval": self._sync_interval,
            },
            "authorization": {
                "users": [
                    {
                        "user": RELAY_USER,
                        "password": self._secrets.nats,
                        "permissions": relay_permissions(self._stream),
                    },
                    {
                        "user": READER_USER,
                        "password": self._secrets.nats_reader,
                        "permissions": reader_permissions(self._stream),
                    },
                ]
            },
        }


def relay_url(secrets: Secrets, port: int) -> str:
    return f"nats://{RELAY_USER}:{secrets.nats}@127.0.0.1:{port}"


def reader_url(secrets: Secrets, port: int) -> str:
    return f"nats://{READER_USER}:{secrets.nats_reader}@127.0.0.1:{port}"
