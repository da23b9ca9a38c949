"""The data folder: its lock, its files, and the check that it can be written.

postgres/  the cluster            nats/  the JetStream store
run/       lock, pid, secrets.json (0600), ports.json, nats.conf (0600), logs
"""

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from infrastructure.embedded.errors import DataDirInUse, DataDirNotWritable, DiskFull, from_os_error

PASSWORD_BYTES = 32
# The kernel releases the lock of a killed process a moment after the kill.
LOCK_TIMEOUT_S = 1.0


@dataclass(frozen=True, repr=False)
class Secrets:
    """Passwords of URL-safe characters. Without a repr, so that no log can show them."""

    postgres_superuser: str
    postgres_owner: str
    postgres_service: str
    nats: str
    nats_reader: str
    nats_server_name: str

    @classmethod
    def generate(cls) -> "Secrets":
        return cls(
            postgres_superuser=secrets.token_urlsafe(PASSWORD_BYTES),
            postgres_owner=secrets.token_urlsafe(PASSWORD_BYTES),
            postgres_service=secrets.token_urlsafe(PASSWORD_BYTES),
            nats=secrets.token_urlsafe(PASSWORD_BYTES),
            nats_reader=secrets.token_urlsafe(PASSWORD_BYTES),
            nats_server_name=f"chatledger-{secrets.token_hex(4)}",
        )


class DataFolder:
    """`min_free_bytes` is checked at every start, before a server meets a full disk."""

    def __init__(self, path: Path, *, min_free_bytes: int) -> None:
        self.path = path.absolute()
        self.min_free_bytes = min_free_bytes
        self.cluster = self.path / "postgres"
        self.cluster_partial = self.path / "postgres.partial"
        self.nats_store = self.path / "nats"
        self.run = self.path / "run"
        self.postgres_log = self.run / "postgres.log"
        self.nats_log = self.run / "nats.log"
        self.nats_config = self.run / "nats.conf"
        self._lock_file = self.run / "lock"
        self._pid_file = self.run / "pid"
        self.secrets_file = self.run / "secrets.json"
        self._ports_file = self.run / "ports.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder for this process. The kernel releases the lock if the process is killed.

        Raises DataDirInUse, DataDirNotWritable or DiskFull.
        """
        try:
            self._make_writable_folders()
            lock = FileLock(self._lock_file, mode=0o600, thread_local=False, fallback_to_soft=False)
            lock.acquire(timeout=LOCK_TIMEOUT_S)
        except Timeout:
            raise DataDirInUse(self.path, self._holder_pid()) from None
        except OSError as error:
            raise from_os_error(error, self.path, self.min_free_bytes) from error
        try:
            free_bytes = shutil.disk_usage(self.path).free
            if free_bytes < self.min_free_bytes:
                raise DiskFull(self.path, free_bytes=free_bytes, needed_bytes=self.min_free_bytes)
            self._write(self._pid_file, str(os.getpid()))
            yield
            self._pid_file.unlink(missing_ok=True)
        finally:
            lock.release()

    def secrets(self) -> tuple[Secrets, bool]:
        """The secrets, and whether they are new. Then an existing cluster needs a new password."""
        try:
            found = json.loads(self.secrets_file.read_text())
            # An older folder has no password for the second user of NATS.
            found.setdefault("nats_reader", secrets.token_urlsafe(PASSWORD_BYTES))
            return Secrets(**found), False
        except (FileNotFoundError, ValueError, TypeError, AttributeError):
            return Secrets.generate(), True

    def save_secrets(self, kept: Secrets) -> None:
        self._write(self.secrets_file, json.dumps(asdict(kept), indent=1))

    def ports(self) -> dict[str, int]:
        """The ports of the last start, by server. Empty before the first start."""
        try:
            found = json.loads(self._ports_file.read_text())
            return {str(name): int(port) for name, port in found.items()}
        except (FileNotFoundError, ValueError, TypeError, AttributeError):
            return {}

    def save_ports(self, ports: dict[str, int]) -> None:
        if ports != self.ports():
            self._write(self._ports_file, json.dumps(ports))

    def write_nats_config(self, text: str) -> None:
        self._write(self.nats_config, text)

    def _make_writable_folders(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise DataDirNotWritable(self.path, "it is not a folder")
        self.path.mkdir(parents=True, exist_ok=True)
        for folder in (self.run, self.nats_store):
            folder.mkdir(mode=0o700, exist_ok=True)
        # An existing folder may be on a read-only disk, which only a write can show.
        with tempfile.TemporaryFile(dir=self.run) as probe:
            probe.write(b"writable")

    def _holder_pid(self) -> int | None:
        try:
            return int(self._pid_file.read_text())
        except (OSError, ValueError):
            return None

    def _write(self, target: Path, text: str) -> None:
        """Replace `target` by a file for us alone. After a crash it is the old or the new one."""
        try:
            descriptor, name = tempfile.mkstemp(dir=self.run, prefix=f".{target.name}.")
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            Path(name).replace(target)
        except OSError as error:
            raise from_os_error(error, self.path, self.min_free_bytes) from error
