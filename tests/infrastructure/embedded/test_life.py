"""First start, second start, stop, and what a start finds of an earlier one."""

import json
import os
import socket
import stat
import subprocess
import threading
from pathlib import Path
from urllib.parse import urlsplit

import nats
import psutil
import pytest
from structlog.testing import capture_logs

from infrastructure.embedded.data_folder import DataFolder, Secrets
from infrastructure.embedded.servers import EmbeddedServers, EmbeddedSettings, ServerDidNotStart
from infrastructure.relay.nats_connection import READER_INBOX, RELAY_INBOX
from tests.infrastructure.embedded.checks import are_gone, read_numbers, write_number
from tests.support.servers import ignore


def start(data_dir: Path) -> EmbeddedServers:
    return EmbeddedServers.start(EmbeddedSettings(data_dir=data_dir), ignore)


def pids(servers: EmbeddedServers) -> tuple[int, int]:
    assert servers.postgres_pid is not None
    assert servers.nats_pid is not None
    return servers.postgres_pid, servers.nats_pid


def test_the_first_start_tells_what_it_does_on_the_callers_thread(data_dir: Path) -> None:
    told: list[tuple[str, threading.Thread]] = []
    settings = EmbeddedSettings(data_dir=data_dir)
    with EmbeddedServers.start(
        settings, lambda text: told.append((text, threading.current_thread()))
    ):
        pass
    assert [text for text, _ in told] == [
        "Starting NATS",
        "Creating the PostgreSQL cluster",
        "Starting PostgreSQL",
    ]
    assert {thread for _, thread in told} == {threading.current_thread()}


async def test_a_second_start_finds_rows_messages_ports_and_passwords(used_data_dir: Path) -> None:
    with start(used_data_dir) as servers:
        write_number(servers.owner_database_url, 1)
        connection = await nats.connect(servers.nats_url, inbox_prefix=RELAY_INBOX)
        await connection.jetstream().add_stream(name="chatledger", subjects=["chatledger.events"])
        await connection.jetstream().publish("chatledger.events", b"first")
        await connection.close()
        first_urls = (
            servers.owner_database_url,
            servers.service_database_url,
            servers.nats_url,
            servers.nats_read_url,
        )
    with start(used_data_dir) as servers:
        assert first_urls == (
            servers.owner_database_url,
            servers.service_database_url,
            servers.nats_url,
            servers.nats_read_url,
        )
        assert read_numbers(servers.owner_database_url) == [1]
        connection = await nats.connect(servers.nats_read_url, inbox_prefix=READER_INBOX)
        assert (await connection.jetstream().get_msg("chatledger", seq=1)).data == b"first"
        await connection.close()


def test_a_folder_from_before_nats_had_two_users_goes_on_with_its_passwords(
    used_data_dir: Path,
) -> None:
    secrets_file = used_data_dir / "run" / "secrets.json"
    with start(used_data_dir) as servers:
        write_number(servers.owner_database_url, 1)
        first_url = servers.nats_url
    secrets = json.loads(secrets_file.read_text())
    del secrets["nats_reader"]
    secrets_file.write_text(json.dumps(secrets))

    with start(used_data_dir) as servers:
        assert servers.nats_url == first_url
        assert read_numbers(servers.owner_database_url) == [1]
        kept = json.loads(secrets_file.read_text())
        assert kept == secrets | {"nats_reader": urlsplit(servers.nats_read_url).password}


def test_stop_ends_both_servers_and_a_second_stop_does_nothing(used_data_dir: Path) -> None:
    servers = start(used_data_dir)
    running = pids(servers)
    servers.stop()
    assert are_gone(*running)
    assert not (used_data_dir / "postgres" / "postmaster.pid").exists()
    servers.stop()


def test_ctrl_c_in_a_terminal_reaches_the_service_and_not_its_servers(used_data_dir: Path) -> None:
    """A terminal signals its whole foreground process group."""
    with start(used_data_dir) as servers:
        for pid in pids(servers):
            assert os.getpgid(pid) == pid


def test_servers_started_in_one_thread_can_be_stopped_in_another(used_data_dir: Path) -> None:
    started: list[EmbeddedServers] = []
    starter = threading.Thread(target=lambda: started.append(start(used_data_dir)))
    starter.start()
    starter.join()
    # The starter's end is not the servers' end, although they die with the thread they are tied to.
    write_number(started[0].owner_database_url, 1)
    assert read_numbers(started[0].owner_database_url) == [1]
    started[0].stop()


def test_only_the_user_of_the_service_can_read_passwords_and_logs(used_data_dir: Path) -> None:
    with start(used_data_dir):
        run = used_data_dir / "run"
        assert stat.S_IMODE(run.stat().st_mode) == 0o700
        for name in ("secrets.json", "nats.conf"):
            assert stat.S_IMODE((run / name).stat().st_mode) == 0o600


def test_no_password_stands_in_the_process_list_or_in_a_log(used_data_dir: Path) -> None:
    with capture_logs() as logged, start(used_data_dir) as servers:
        listed = "\n".join(command_lines())
        logs = "".join(path.read_text() for path in (used_data_dir / "run").glob("*.log"))
        secrets = json.loads((used_data_dir / "run" / "secrets.json").read_text())
        assert str(used_data_dir / "run" / "nats.conf") in listed
        assert "Server is ready" in logs
    assert "embedded_server_started" in [entry["event"] for entry in logged]
    del secrets["nats_server_name"]
    for password in secrets.values():
        assert len(password) >= 40
        for place in (listed, logs, str(logged), repr(servers), str(vars(servers))):
            assert password not in place


def test_a_port_that_somebody_else_took_meanwhile_is_replaced(used_data_dir: Path) -> None:
    with start(used_data_dir) as servers:
        first_ports = [urlsplit(servers.owner_database_url).port, urlsplit(servers.nats_url).port]
    taken = [socket.create_server(("127.0.0.1", port or 0)) for port in first_ports]
    try:
        with start(used_data_dir) as servers:
            write_number(servers.owner_database_url, 1)
            ports = [urlsplit(servers.owner_database_url).port, urlsplit(servers.nats_url).port]
            assert not set(ports) & set(first_ports)
    finally:
        for server in taken:
            server.close()


@pytest.mark.parametrize("loss", ["removed", "cut"])
def test_lost_passwords_are_replaced_and_the_data_stays(used_data_dir: Path, loss: str) -> None:
    with start(used_data_dir) as servers:
        write_number(servers.owner_database_url, 1)
        lost_url = servers.owner_database_url
    secrets_file = used_data_dir / "run" / "secrets.json"
    if loss == "removed":
        secrets_file.unlink()
    else:
        secrets_file.write_text(secrets_file.read_text()[:40])
    with start(used_data_dir) as servers:
        assert servers.owner_database_url != lost_url
        assert read_numbers(servers.owner_database_url) == [1]


def test_passwords_of_another_cluster_are_said_and_can_be_replaced(used_data_dir: Path) -> None:
    folder = DataFolder(used_data_dir, min_free_bytes=0)
    folder.save_secrets(Secrets.generate())
    with pytest.raises(ServerDidNotStart, match="password authentication failed") as failed:
        start(used_data_dir)
    assert f"remove {folder.secrets_file}" in str(failed.value)
    folder.secrets_file.unlink()
    start(used_data_dir).stop()


def test_a_pid_file_whose_number_now_belongs_to_another_process_stops_nothing(
    used_data_dir: Path,
) -> None:
    with start(used_data_dir) as servers:
        write_number(servers.owner_database_url, 1)
        pid_file = used_data_dir / "postgres" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        owner = pid_file.stat()
    other = subprocess.Popen(["sleep", "60"])
    try:
        pid_file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        os.chown(pid_file, owner.st_uid, owner.st_gid)
        with start(used_data_dir) as servers:
            assert read_numbers(servers.owner_database_url) == [1]
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_half_made_cluster_of_a_killed_start_is_replaced(data_dir: Path) -> None:
    partial = DataFolder(data_dir, min_free_bytes=0).cluster_partial
    (partial / "data" / "global").mkdir(parents=True)
    (partial / "data" / "PG_VERSION").write_text("18")
    with start(data_dir) as servers:
        write_number(servers.owner_database_url, 1)
    assert not partial.exists()


def test_a_long_log_keeps_one_older_part(used_data_dir: Path) -> None:
    settings = EmbeddedSettings(data_dir=used_data_dir, log_bytes_max=1000)
    with EmbeddedServers.start(settings, ignore):
        pass
    log_file = used_data_dir / "run" / "nats.log"
    first = log_file.read_text()
    assert len(first) > 1000
    with EmbeddedServers.start(settings, ignore):
        pass
    assert log_file.with_name("nats.log.1").read_text() == first
    assert "Server is ready" in log_file.read_text()


def command_lines() -> list[str]:
    """The command lines of all processes, which every user of the machine can see."""
    found = (process.info["cmdline"] for process in psutil.process_iter(["cmdline"]))
    return [" ".join(words) for words in found if words]
