"""The URLs of embedded servers that another process runs, for an operator's command beside the
service."""

from dataclasses import dataclass
from pathlib import Path

from infrastructure.embedded.cluster import DATABASE, OWNER, SERVICE
from infrastructure.embedded.data_folder import DataFolder
from infrastructure.embedded.nats_server import reader_url, relay_url


@dataclass(frozen=True, kw_only=True, repr=False)
class JoinedServers:
    """URLs with passwords. Without a repr, so that no log can show them."""

    owner_database_url: str
    service_database_url: str
    nats_url: str
    nats_read_url: str


def join_servers(data_dir: Path) -> JoinedServers | None:
    """The servers that run in the data folder; None if none was ever started there. They end with
    the process that runs them, whatever this process is doing."""
    data = DataFolder(data_dir, min_free_bytes=0)
    secrets, are_new = data.secrets()
    ports = data.ports()
    if are_new or not {"postgres", "nats"} <= ports.keys():
        return None

    def database_url(role: str, password: str) -> str:
        return f"postgresql://{role}:{password}@127.0.0.1:{ports['postgres']}/{DATABASE}"

    return JoinedServers(
        owner_database_url=database_url(OWNER, secrets.postgres_owner),
        service_database_url=database_url(SERVICE, secrets.postgres_service),
        nats_url=relay_url(secrets, ports["nats"]),
        nats_read_url=reader_url(secrets, ports["nats"]),
    )
