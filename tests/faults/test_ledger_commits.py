"""PostgreSQL killed under a ledger that commits as fast as it can."""

import asyncio
import os
import random
import signal
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest

from application.ledger.ledger import LedgerUnavailable, Transaction
from application.ledger.streams import ACCOUNT
from domain.accounts import commands as c
from domain.accounts.decider import decide
from domain.accounts.events import CreditsGranted
from domain.identifiers import account_id
from infrastructure.database.migrate import migrate
from infrastructure.embedded.servers import EmbeddedServers, EmbeddedSettings
from tests.application.world import World
from tests.faults.processes import until
from tests.support.servers import DatabaseUrls, ignore

KILLS = 3
CALLERS = 24
ACCOUNTS = 6
BACK_WITHIN_S = 30


@pytest.fixture(scope="module")
def own_servers() -> Iterator[EmbeddedServers]:
    """PostgreSQL and NATS that are restarted more often than the settings of a service allow."""
    with tempfile.TemporaryDirectory(prefix="chatledger-") as folder:
        os.chmod(folder, 0o755)  # noqa: PTH101 - PostgreSQL's own user has to pass through
        settings = EmbeddedSettings(data_dir=Path(folder) / "data", restarts_max=1000)
        with EmbeddedServers.start(settings, ignore) as servers:
            migrate(servers.owner_database_url, servers.service_database_url)
            yield servers


@pytest.fixture
async def world(own_servers: EmbeddedServers) -> AsyncIterator[World]:
    urls = DatabaseUrls(
        owner=own_servers.owner_database_url, service=own_servers.service_database_url
    )
    opened = World(urls)
    yield opened
    await opened.close()
    opened.check_books()


@dataclass
class Callers:
    """Each gives one command after the other, half of them for accounts that all callers share."""

    world: World
    accounts: list[UUID]
    chance: random.Random
    patience_s: float
    acknowledged: list[UUID] = field(default_factory=list)
    unanswered: list[UUID] = field(default_factory=list)
    stopping: bool = False

    async def run(self) -> None:
        while not self.stopping:
            stream_id = self.chance.choice(self.accounts)
            grant = c.GrantCredits(
                grant_id=self.world.ids.new_id(),
                amount_micro=1,
                expires_at=None,
                reason="test",
                granted_by=None,
            )

            def work(transaction: Transaction) -> None:
                state = transaction.load(ACCOUNT, stream_id)  # noqa: B023 - run at once
                now = self.world.clock.now()
                transaction.add(ACCOUNT, *decide(grant, state, now))  # noqa: B023

            try:
                await self.world.ledger.transact(work, patience_s=self.patience_s)
            except LedgerUnavailable:
                self.unanswered.append(grant.grant_id)
                await asyncio.sleep(0.05)
            else:
                self.acknowledged.append(grant.grant_id)

    async def some_more(self, count: int) -> None:
        """Returns when that many more commands are acknowledged."""
        wanted = len(self.acknowledged) + count
        await until(lambda: len(self.acknowledged) >= wanted, BACK_WITHIN_S, "commands are stored")


@pytest.mark.parametrize("patience_s", [0.0, 20.0])
async def test_no_acknowledged_command_is_lost_and_none_is_applied_twice(
    world: World, own_servers: EmbeddedServers, patience_s: float
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    accounts = [account_id(await world.a_user()) for _ in range(ACCOUNTS)]
    callers = Callers(world, accounts, chance, patience_s)
    running = [asyncio.create_task(callers.run()) for _ in range(CALLERS)]
    for _ in range(KILLS):
        await callers.some_more(100)
        await asyncio.sleep(chance.random() * 0.05)
        killed = own_servers.postgres_pid
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        is_back = lambda: own_servers.postgres_pid not in (None, killed)  # noqa: B023, E731
        await until(is_back, BACK_WITHIN_S, "PostgreSQL is started again")
    await callers.some_more(100)
    callers.stopping = True
    await asyncio.gather(*running)

    stored = Counter(
        event.grant_id
        for event in world.events()
        if isinstance(event, CreditsGranted) and event.originator_id in accounts
    )
    assert max(stored.values()) == 1, "none is applied twice"
    assert set(callers.acknowledged) <= set(stored), "what was acknowledged is there"
    # Beside the welcome credits of each account, at most the grants that were not acknowledged.
    unknown = len(stored) - len(accounts) - len(callers.acknowledged)
    assert 0 <= unknown <= len(callers.unanswered)
    if patience_s:
        assert callers.unanswered == [], "who is patient hears of the end of every kill"
    print(f"{len(callers.acknowledged)} acknowledged, {len(callers.unanswered)} unanswered")
