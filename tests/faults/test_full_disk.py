"""A disk that fills up under the running service."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from tests.faults.checks import all_is_well, heals, under_load
from tests.faults.conftest import SETTLED_WITHIN_S
from tests.support.service import RunningService

COMMANDS_MAX = 3000
MIB = 2**20
BLOCK = 4096
HEALED_WITHIN_S = 20


async def test_a_full_disk_refuses_commands_whole_and_costs_nothing(
    service_on_a_small_disk: RunningService, seed: int
) -> None:
    service = service_on_a_small_disk
    load = await under_load(service, seed, users=2)
    with full_disk(service.data_dir):
        acknowledged = 0
        while await load.buy(load.users[0]):
            acknowledged += 1
            assert acknowledged < COMMANDS_MAX
        print(f"{acknowledged} commands until the disk was full")
        for user in load.users:
            message = await load.send(user, max_tokens=8)
            print(message.problem or "answered")
    try:
        await heals(service, HEALED_WITHIN_S)
        assert await load.buy(load.users[0])
        print("goes on by itself")
    except (AssertionError, httpx.TransportError):
        print("is started again")
        await asyncio.to_thread(service.stop)
        await asyncio.to_thread(service.start)
    load.start()
    await load.some_answers(2)
    await load.stop()
    await all_is_well(service, load, SETTLED_WITHIN_S)
    assert service.stop() == 0


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        # Most of the room at once, then whatever other writers leave of the rest.
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(folder).free - MIB)
        file.seek(0, os.SEEK_END)
        with suppress(OSError):
            while True:
                file.write(bytes(BLOCK))
    try:
        yield
    finally:
        filler.unlink()
