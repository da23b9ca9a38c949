"""The children of a running service: finding them, killing them, seeing them gone."""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil

from infrastructure.embedded.cluster import DATABASE, SERVICE
from infrastructure.embedded.data_folder import DataFolder
from tests.support.service import RunningService

POSTGRES = "postgres"
NATS = "nats-server"


def children(service: RunningService, program: str) -> list[psutil.Process]:
    """By name and by working folder, which both servers have inside the data folder."""
    assert service.process is not None
    inside = os.path.realpath(service.data_dir)
    found = []
    for child in psutil.Process(service.process.pid).children():
        try:
            if child.name() == program and Path(child.cwd()).is_relative_to(inside):
                found.append(child)
        except psutil.Error:
            continue  # It ended meanwhile.
    return found


def child_pid(service: RunningService, program: str) -> int | None:
    """None while it is being started again."""
    found = children(service, program)
    return found[0].pid if found else None


async def kill_child(service: RunningService, program: str) -> int:
    """kill -9; waits for a child that is just being started again. Returns its pid."""
    await until(lambda: child_pid(service, program) is not None, 30, f"{program} runs")
    pid = child_pid(service, program)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    return pid


def processes_of(service: RunningService) -> list[psutil.Process]:
    """The service and everything below it."""
    assert service.process is not None
    process = psutil.Process(service.process.pid)
    return [process, *process.children(recursive=True)]


def database_url(service: RunningService) -> str:
    data = DataFolder(service.data_dir, min_free_bytes=0)
    secrets, are_new = data.secrets()
    assert not are_new
    port = data.ports()["postgres"]
    return f"postgresql://{SERVICE}:{secrets.postgres_service}@127.0.0.1:{port}/{DATABASE}"


def nats_url(service: RunningService) -> str:
    data = DataFolder(service.data_dir, min_free_bytes=0)
    users = json.loads(data.nats_config.read_text())["authorization"]["users"]
    port = data.ports()["nats"]
    return f"nats://{users[0]['user']}:{users[0]['password']}@127.0.0.1:{port}"


async def until(done: Callable[[], bool], timeout_s: float, what: str) -> None:
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not done():
        assert asyncio.get_running_loop().time() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.05)
