"""Killed parents, killed servers, folders that cannot be used, full disks."""

import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import nats
import psycopg
import pytest
from structlog.testing import capture_logs

from infrastructure.embedded.errors import from_os_error
from infrastructure.embedded.processes import processes_in, wait_until
from infrastructure.embedded.servers import (
    DataDirInUse,
    DataDirNotWritable,
    DiskFull,
    EmbeddedServers,
    EmbeddedSettings,
    ServerDidNotStart,
)
from infrastructure.embedded.supervisor import RestartBudget
from infrastructure.relay.nats_connection import READER_INBOX, RELAY_INBOX
from tests.infrastructure.embedded.checks import (
    HEALED_TIMEOUT_S,
    answers,
    are_gone,
    read_numbers,
    write_number,
)
from tests.support.embedded_process import embedded_process, end, launch
from tests.support.servers import ignore
from tests.support.small_disk import small_disk

DIES_WITH_PARENT = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a child that its parent was killed"
)


def start(data_dir: Path, **settings: int) -> EmbeddedServers:
    given = EmbeddedSettings(data_dir=data_dir, **settings)  # type: ignore[arg-type]
    return EmbeddedServers.start(given, ignore)


@DIES_WITH_PARENT
def test_servers_of_a_killed_process_end_and_the_next_start_has_its_data(
    used_data_dir: Path,
) -> None:
    with embedded_process(used_data_dir) as (process, started):
        write_number(started.superuser_url, 1)
        process.kill()
        process.wait()
        assert are_gone(started.postgres_pid, started.nats_pid)
    with start(used_data_dir) as servers:
        assert servers.superuser_url == started.superuser_url
        assert read_numbers(servers.superuser_url) == [1]


def test_a_start_right_after_a_kill_waits_for_the_left_over_servers(used_data_dir: Path) -> None:
    with embedded_process(used_data_dir) as (process, started):
        write_number(started.superuser_url, 1)
        process.kill()
        with start(used_data_dir) as servers:
            assert are_gone(started.postgres_pid, started.nats_pid)
            assert servers.superuser_url == started.superuser_url
            assert servers.nats_url == started.nats_url
            assert read_numbers(servers.superuser_url) == [1]


def test_left_over_servers_that_do_not_react_are_killed(used_data_dir: Path) -> None:
    with embedded_process(used_data_dir) as (process, started):
        write_number(started.superuser_url, 1)
        # A suspended server reacts neither to its parent's death nor to a mild signal.
        os.kill(started.postgres_pid, signal.SIGSTOP)
        os.kill(started.nats_pid, signal.SIGSTOP)
        process.kill()
        process.wait()
        settings = EmbeddedSettings(data_dir=used_data_dir, stop_timeout_s=1)
        with EmbeddedServers.start(settings, ignore) as servers:
            assert are_gone(started.postgres_pid, started.nats_pid)
            assert read_numbers(servers.superuser_url) == [1]


def test_a_start_killed_at_a_random_moment_never_spoils_the_next(data_dir: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    for _ in range(3):
        process = launch(data_dir)
        try:
            process.wait(moments.uniform(0.2, 1.5))
        except subprocess.TimeoutExpired:
            process.kill()
        end(process)
    with start(data_dir) as servers:
        write_number(servers.superuser_url, 1)


def test_a_folder_in_use_is_named_with_the_process_that_holds_it(used_data_dir: Path) -> None:
    with embedded_process(used_data_dir) as (process, started):
        with pytest.raises(DataDirInUse) as refused:
            start(used_data_dir)
        assert str(refused.value) == (
            f"The data folder {used_data_dir} is in use by process {process.pid}: stop that one,"
            " or set DATA_DIR to another folder."
        )
        assert answers(started.service_url)


def test_a_second_start_in_the_same_process_is_refused(used_data_dir: Path) -> None:
    with start(used_data_dir) as servers:
        with pytest.raises(DataDirInUse):
            start(used_data_dir)
        assert answers(servers.service_database_url)


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "with a busy backend"])
def test_a_killed_postmaster_comes_back_on_its_port_with_its_data(
    used_data_dir: Path, busy: bool
) -> None:
    with start(used_data_dir) as servers:
        write_number(servers.owner_database_url, 1)
        first_pid = servers.postgres_pid
        assert first_pid is not None
        if busy:
            worker = Thread(target=run_for_long, args=(servers.superuser_url,))
            worker.start()
            assert wait_until(lambda: count_busy(servers.superuser_url) == 1, HEALED_TIMEOUT_S)
        os.kill(first_pid, signal.SIGKILL)
        assert wait_until(
            lambda: (
                servers.postgres_pid not in {None, first_pid}
                and answers(servers.service_database_url)
            ),
            HEALED_TIMEOUT_S,
        )
        assert read_numbers(servers.owner_database_url) == [1]
        if busy:
            worker.join(HEALED_TIMEOUT_S)
            assert not worker.is_alive()


async def test_a_killed_nats_comes_back_on_its_port_with_its_messages(used_data_dir: Path) -> None:
    with start(used_data_dir) as servers:
        connection = await nats.connect(servers.nats_url, inbox_prefix=RELAY_INBOX)
        await connection.jetstream().add_stream(name="chatledger", subjects=["chatledger.events"])
        await connection.jetstream().publish("chatledger.events", b"first")
        await connection.close()
        first_pid = servers.nats_pid
        assert first_pid is not None
        os.kill(first_pid, signal.SIGKILL)
        assert wait_until(
            lambda: (
                servers.nats_pid not in {None, first_pid}
                and processes_in(used_data_dir / "nats", "nats-server") != []
                and listens(servers.nats_url)
            ),
            HEALED_TIMEOUT_S,
        )
        connection = await nats.connect(servers.nats_read_url, inbox_prefix=READER_INBOX)
        assert (await connection.jetstream().get_msg("chatledger", seq=1)).data == b"first"
        await connection.close()


def test_a_server_that_cannot_come_back_is_tried_again_when_it_was_mended(
    used_data_dir: Path,
) -> None:
    bounds = {"restarts_max": 2, "restart_window_s": 3}
    with capture_logs() as logged, start(used_data_dir, **bounds) as servers:
        control_file = used_data_dir / "postgres" / "global" / "pg_control"
        away = control_file.rename(control_file.with_name("pg_control.away"))
        first_pid = servers.postgres_pid
        assert first_pid is not None
        os.kill(first_pid, signal.SIGKILL)
        assert wait_until(lambda: servers.failing == ("PostgreSQL",), HEALED_TIMEOUT_S)
        away.rename(control_file)
        assert wait_until(lambda: servers.failing == (), HEALED_TIMEOUT_S)
        assert servers.postgres_pid not in {None, first_pid}
    events = [entry["event"] for entry in logged if entry["log_level"] == "error"]
    assert events[:4] == [
        "embedded_server_died",
        "embedded_server_restart_failed",
        "embedded_server_restart_failed",
        "embedded_server_keeps_failing",
    ]


def test_restarts_are_slowed_down_and_bounded_within_a_window() -> None:
    budget = RestartBudget(restarts_max=4, window_s=60)
    assert [budget.take(float(second)) for second in range(5)] == [0, 0.25, 0.5, 1, None]
    assert budget.take(59.9) is None
    assert budget.take(60.0) == 1
    assert budget.take(500.0) == 0


def test_a_cluster_of_a_broken_kind_says_what_postgresql_said(used_data_dir: Path) -> None:
    with start(used_data_dir):
        pass
    (used_data_dir / "postgres" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(ServerDidNotStart, match="incompatible with server") as failed:
        start(used_data_dir)
    assert failed.value.server == "PostgreSQL"
    assert failed.value.log_lines
    assert processes_in(used_data_dir / "nats", "nats-server") == []


def test_less_room_than_wanted_is_said_before_anything_is_started(data_dir: Path) -> None:
    with pytest.raises(DiskFull, match=r"has \d+ MiB free: free at least 1073741824 MiB there"):
        start(data_dir, min_free_bytes=2**50)
    assert not (data_dir / "postgres").exists()


def test_a_disk_that_fills_up_during_the_first_start_is_said_in_one_sentence(
    data_dir: Path,
) -> None:
    data_dir.mkdir()
    with small_disk(data_dir, size="24m"):
        with pytest.raises(DiskFull, match=r"is full: free at least .* or set DATA_DIR"):
            start(data_dir, min_free_bytes=0)
        # The half-made cluster does not keep the disk full.
        with pytest.raises(DiskFull):
            start(data_dir, min_free_bytes=0)


def test_a_read_only_disk_is_said_in_one_sentence(data_dir: Path) -> None:
    data_dir.mkdir()
    with (
        small_disk(data_dir, size="1m", read_only=True),
        pytest.raises(DataDirNotWritable, match=r"read-only file system.*set DATA_DIR"),
    ):
        start(data_dir)


def test_a_file_in_place_of_the_folder_is_said_in_one_sentence(data_dir: Path) -> None:
    data_dir.write_text("not a folder")
    with pytest.raises(DataDirNotWritable, match="it is not a folder"):
        start(data_dir)
    with pytest.raises(DataDirNotWritable, match="not a directory"):
        start(data_dir / "below")


def test_a_folder_we_may_not_write_is_said_in_one_sentence(data_dir: Path) -> None:
    refused = from_os_error(PermissionError(13, "Permission denied"), data_dir, 0)
    assert str(refused) == (
        f"The data folder {data_dir} cannot be written (permission denied):"
        " make it writable, or set DATA_DIR to a folder that is."
    )


def run_for_long(url: str) -> None:
    with pytest.raises(psycopg.OperationalError), psycopg.connect(url) as connection:
        connection.execute("SELECT count(*) FROM generate_series(1, 4000000000) /* busy */")


def count_busy(url: str) -> int:
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE query LIKE '%/* busy */' AND pid <> pg_backend_pid()"
        ).fetchone()
    assert found is not None
    return int(found[0])


def listens(url: str) -> bool:
    address = urlsplit(url)
    try:
        socket.create_connection((address.hostname or "", address.port or 0), 1).close()
    except OSError:
        return False
    return True
