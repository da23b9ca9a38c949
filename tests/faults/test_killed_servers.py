"""kill -9 of PostgreSQL and of NATS under a service that goes on."""

import asyncio
import shutil

import pytest

from tests.faults.checks import all_is_well, heals, under_load
from tests.faults.conftest import SETTLED_WITHIN_S
from tests.faults.processes import NATS, POSTGRES, child_pid, kill_child, until
from tests.support.service import RunningService

HEALED_WITHIN_S = 20


@pytest.mark.parametrize("program", [POSTGRES, NATS])
async def test_a_service_whose_server_is_killed_heals_by_itself_and_loses_nothing(
    service: RunningService, seed: int, program: str
) -> None:
    load = await under_load(service, seed)
    load.start()
    await load.some_answers(2)
    await load.random_moment()
    assert load.under_way > 0
    killed = await kill_child(service, program)
    began = asyncio.get_running_loop().time()
    await until(
        lambda: child_pid(service, program) not in (None, killed), HEALED_WITHIN_S, "it is back"
    )
    back_s = asyncio.get_running_loop().time() - began
    await load.some_answers(4, timeout_s=HEALED_WITHIN_S)
    print(f"{program} back after {back_s:.2f} s, answers after", end=" ")
    print(f"{asyncio.get_running_loop().time() - began:.2f} s")
    await load.stop()
    await heals(service, HEALED_WITHIN_S)
    if program == NATS:
        await forget_everything_in_nats(service)
        sent = await load.send(load.users[0], max_tokens=8)
        assert sent.answer is not None
        await heals(service, HEALED_WITHIN_S)
    await all_is_well(service, load, SETTLED_WITHIN_S)
    assert service.stop() == 0


async def forget_everything_in_nats(service: RunningService) -> None:
    """As after a lost disk. PostgreSQL still has every event."""
    assert service.stop() == 0
    for kept in (service.data_dir / "nats").iterdir():
        shutil.rmtree(kept)
    await asyncio.to_thread(service.start)
