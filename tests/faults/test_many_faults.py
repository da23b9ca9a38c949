"""One fault after the other, each perhaps before the service has recovered from the last.

`make chaos` runs many more of them than the suite: CHAOS_ROUNDS says how many rounds.
"""

import asyncio
import os
import random
import signal

from tests.faults.checks import all_is_well, heals, under_load
from tests.faults.conftest import SETTLED_WITHIN_S
from tests.faults.load import Load
from tests.faults.processes import NATS, POSTGRES, child_pid, kill_child
from tests.interfaces.cli.command import chatledger
from tests.support.service import RunningService

SERVICE, FREEZE = "service", "freeze"
# Five kills a round. A server that ended six times in a minute would not be started again, but
# every round starts the whole service anew.
ROUND = (SERVICE, POSTGRES, POSTGRES, NATS, NATS, FREEZE)
KILLS_A_ROUND = 5
ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "6"))
HEALED_WITHIN_S = 30
FROZEN_S = 1.5


async def test_thirty_kills_in_a_row_lose_nothing(service: RunningService, seed: int) -> None:
    chosen = random.Random(seed)
    load = await under_load(service, seed)
    load.start(workers_per_user=2)
    for number in range(ROUNDS):
        faults = list(ROUND)
        chosen.shuffle(faults)
        print(f"round {number + 1} of {ROUNDS}:", *faults)
        for fault in faults:
            await load.random_moment(1.0)
            await strike(service, load, fault)
        # The service still answers before it is restarted, not only after.
        await heals(service, HEALED_WITHIN_S)
        await load.some_answers(1)
    await load.stop()
    await all_is_well(service, load, SETTLED_WITHIN_S)
    data_dir = service.data_dir
    verified = chatledger("audit", "verify", folder=data_dir.parent, DATA_DIR=str(data_dir))
    assert verified.status == 0, (verified.output, verified.errors)
    print(f"{ROUNDS * KILLS_A_ROUND} kills")
    assert service.stop() == 0


async def strike(service: RunningService, load: Load, fault: str) -> None:
    match fault:
        case "service":
            service.kill()
            await load.stop()
            # At once, so that the start meets whatever is left of the servers.
            await asyncio.to_thread(service.start)
            load.start(workers_per_user=2)
        case "freeze":
            await freeze(service)
        case _:
            await kill_child(service, fault)


async def freeze(service: RunningService) -> None:
    """PostgreSQL's first process accepts no connections for a while, as on a machine that swaps."""
    pid = child_pid(service, POSTGRES)
    if pid is None:
        return  # It is being started again just now.
    try:
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(FROZEN_S)
    finally:
        os.kill(pid, signal.SIGCONT)
