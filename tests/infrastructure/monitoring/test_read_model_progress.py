"""Read models that do not follow the log are noticed, whatever the cause."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from infrastructure.monitoring.read_model_progress import ReadModelProgress
from infrastructure.read_models.position_board import PositionBoard
from infrastructure.read_models.queries import PostgresReadModels
from infrastructure.read_models.query_pool import ReadPoolLimits
from tests.infrastructure.event_store.commit_store import Store, commit, event
from tests.support.servers import DatabaseUrls


class Watch:
    """The progress of read models, with a clock that a test sets."""

    def __init__(self, read_models: PostgresReadModels) -> None:
        self.now_s = 0.0
        self._progress = ReadModelProgress(read_models, clock=lambda: self.now_s)

    async def trouble_at(self, now_s: float) -> str | None:
        self.now_s = now_s
        return await self._progress.trouble()


@pytest.fixture
async def watch(migrated: DatabaseUrls) -> AsyncIterator[Watch]:
    limits = ReadPoolLimits(connections_max=1, connection_timeout_s=5)
    read_models = PostgresReadModels(migrated.service, limits, PositionBoard())
    await read_models.start()
    yield Watch(read_models)
    await read_models.stop()


def move(urls: DatabaseUrls, position: str) -> None:
    """Sets a position with the service's rights."""
    with psycopg.connect(urls.service, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO read.positions (projection, position)"
            f" SELECT 'balances', {position} FROM ledger.ledger_events LIMIT 1"
            f" ON CONFLICT (projection) DO UPDATE SET position = {position}".encode()
        )


HEAD = "(SELECT max(notification_id) FROM ledger.ledger_events)"


async def test_a_position_beyond_the_log_is_told_at_once(
    store: Store, migrated: DatabaseUrls, watch: Watch
) -> None:
    await store.store(commit(event("one")))
    move(migrated, HEAD)
    assert await watch.trouble_at(0) is None

    move(migrated, "9000000000000000000")
    assert "the log up to 9000000000000000000" in (await watch.trouble_at(1) or "")

    move(migrated, HEAD)
    assert await watch.trouble_at(2) is None


async def test_read_models_that_stand_still_behind_the_log_are_told_after_a_while(
    store: Store, migrated: DatabaseUrls, watch: Watch
) -> None:
    await store.store(commit(event("one")))
    move(migrated, HEAD)
    await store.store(commit(event("two")), commit(event("three")))

    assert await watch.trouble_at(0) is None
    assert await watch.trouble_at(29) is None
    assert "have stood still" in (await watch.trouble_at(31) or "")
    move(migrated, f"{HEAD} - 1")
    assert await watch.trouble_at(32) is None, "they move"
    assert "have stood still" in (await watch.trouble_at(70) or "")
    move(migrated, HEAD)
    assert await watch.trouble_at(71) is None
