"""The operator's PostgreSQL cannot be reached for longer than any request may wait."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from infrastructure.embedded.servers import EmbeddedServers
from tests.faults.checks import all_is_well, heals, under_load
from tests.faults.conftest import SETTINGS, SETTLED_WITHIN_S, ended
from tests.faults.load import Load
from tests.support.database_proxy import DatabaseProxy
from tests.support.servers import DatabaseUrls
from tests.support.service import RunningService

AT_ONCE = 24
# DATABASE_TIMEOUT_S, 2 s here, each to get a turn, to get a thread, and to reach the database.
ANSWERED_WITHIN_S = 15
ALIVE_WITHIN_S = 5
HEALED_WITHIN_S = 20
THREADS_MORE_MAX = 4


@pytest.fixture
def proxy(database: DatabaseUrls) -> Iterator[DatabaseProxy]:
    with DatabaseProxy(database.service) as opened:
        yield opened


@pytest.fixture
def external(
    embedded_servers: EmbeddedServers,
    database: DatabaseUrls,
    proxy: DatabaseProxy,
    stream_prefix: str,
) -> dict[str, str]:
    return {
        "DATABASE_URL": proxy.url,
        "MIGRATION_DATABASE_URL": database.owner,
        "NATS_URL": embedded_servers.nats_url,
        "NATS_READ_URL": embedded_servers.nats_read_url,
        "NATS_STREAM": stream_prefix,
    }


@pytest.fixture
def connected(
    tmp_path: Path, prepared_models: Path, external: dict[str, str]
) -> Iterator[RunningService]:
    """A service with servers of the operator, whose connection to the database can be cut."""
    with ended(RunningService(data_dir=tmp_path / "data", env=SETTINGS | external)) as service:
        service.data_dir.mkdir()
        yield service


async def test_while_the_database_is_away_every_request_is_answered_in_time(
    connected: RunningService, proxy: DatabaseProxy, database: DatabaseUrls, seed: int
) -> None:
    service = connected
    load = await under_load(service, seed)
    load.start()
    await load.some_answers(2)
    process = psutil.Process(service.process.pid if service.process else 0)
    threads: list[int] = []
    for _ in range(2):
        proxy.cut()
        slowest_s = await everybody_is_answered(load)
        await alive_but_not_ready(service)
        proxy.restore()
        began = time.monotonic()
        await heals(service, HEALED_WITHIN_S)
        print(f"slowest refusal {slowest_s:.1f} s, healed after {time.monotonic() - began:.1f} s")
        await load.some_answers(1)
        threads.append(process.num_threads())
    await load.stop()
    await all_is_well(service, load, SETTLED_WITHIN_S, database.service)
    print(f"threads after each outage: {threads}")
    assert threads[-1] <= threads[0] + THREADS_MORE_MAX
    assert service.stop() == 0


async def everybody_is_answered(load: Load) -> float:
    """Each gets a problem document, which `load` checks. Returns the seconds of the slowest."""
    users = [load.users[number % len(load.users)] for number in range(AT_ONCE)]
    began = time.monotonic()
    bought = await asyncio.gather(*(load.buy(user) for user in users))
    slowest_s = time.monotonic() - began
    assert not any(bought)
    assert slowest_s < ANSWERED_WITHIN_S
    return slowest_s


async def alive_but_not_ready(service: RunningService) -> None:
    async with httpx.AsyncClient(base_url=service.api_url, timeout=ALIVE_WITHIN_S) as client:
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503
