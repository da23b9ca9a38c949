"""kill -9 of the service in the middle of its work."""

import asyncio

from tests.faults.checks import all_is_well, under_load
from tests.faults.conftest import SETTLED_WITHIN_S
from tests.faults.processes import processes_of, until
from tests.support.service import RunningService


async def test_a_killed_service_has_lost_no_acknowledged_answer_and_keeps_no_hold(
    service: RunningService, seed: int
) -> None:
    load = await under_load(service, seed)
    load.start(workers_per_user=2)
    await load.some_answers(3)
    await load.random_moment()
    below = processes_of(service)[1:]
    under_way = load.under_way
    service.kill()
    await load.stop()
    assert under_way > 0
    await until(lambda: not any(p.is_running() for p in below), 20, "its servers end with it")
    await asyncio.to_thread(service.start)
    load.start()
    await load.some_answers(3)
    await load.stop()
    await all_is_well(service, load, SETTLED_WITHIN_S)
    assert service.stop() == 0
