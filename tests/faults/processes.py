"""Finds the children of a running service, kills them, and sees whether they are gone."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil

from infrastructure.embedded.joining import JoinedServers, join_servers
from tests.support.service import RunningService

POSTGRES = "postgres"
NATS = "nats-server"


def children(service: RunningService, program: str) -> list[psutil.Process]:
    """Found by name and working folder: both servers work inside the data folder."""
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
    """None while the child is being started again."""
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
    return _joined(service).service_database_url


def nats_url(service: RunningService) -> str:
    return _joined(service).nats_url


def _joined(service: RunningService) -> JoinedServers:
    joined = join_servers(service.data_dir)
    assert joined is not None
    return joined


async def until(done: Callable[[], bool], timeout_s: float, what: str) -> None:
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not done():
        assert asyncio.get_running_loop().time() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.05)
