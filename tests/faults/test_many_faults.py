"""One fault after the other, each while the one before may not have healed yet."""

import asyncio
import random

from tests.faults.checks import all_is_well, heals, under_load
from tests.faults.conftest import SETTLED_WITHIN_S
from tests.faults.processes import NATS, POSTGRES, kill_child
from tests.support.service import RunningService

SERVICE = "service"
HEALED_WITHIN_S = 30


async def test_eight_kills_in_a_row_lose_nothing(service: RunningService, seed: int) -> None:
    faults = [SERVICE] * 2 + [POSTGRES] * 3 + [NATS] * 3
    random.Random(seed).shuffle(faults)
    print(" ".join(faults))
    load = await under_load(service, seed)
    load.start(workers_per_user=2)
    for fault in faults:
        await load.random_moment()
        if fault == SERVICE:
            service.kill()
            await load.stop()
            # At once: what is left of the servers is met by the start itself.
            await asyncio.to_thread(service.start)
            load.start()
        else:
            await kill_child(service, fault)
    await heals(service, HEALED_WITHIN_S)
    await load.some_answers(2)
    await load.stop()
    await all_is_well(service, load, SETTLED_WITHIN_S)
    assert service.stop() == 0
