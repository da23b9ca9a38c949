"""Whether commits can be stored, and would be accepted by the other services of the same ledger."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID

from domain.accounts.events import AccountOpened
from domain.events import header
from infrastructure.database.migrate import migrate
from infrastructure.event_store.recorder import GroupCommitRecorder, open_application
from infrastructure.monitoring.log_end import LogEnd
from infrastructure.read_models.queries import PostgresReadModels
from infrastructure.read_models.query_pool import ReadPoolLimits
from tests.support.forging import Forger, made
from tests.support.keys import EVENT_MACS, LEDGER_KEYS
from tests.support.servers import DatabaseUrls


async def test_two_who_begin_one_empty_ledger_with_keys_of_their_own_notice_it(
    database: DatabaseUrls,
) -> None:
    migrate(database.owner, database.service)
    application = open_application(
        database.service, LEDGER_KEYS, threads=1, connect_timeout_s=5, cached_streams_max=1
    )
    read_models = PostgresReadModels(database.service, ReadPoolLimits(connections_max=1))
    await read_models.start()
    recorder = application.recorder
    assert isinstance(recorder, GroupCommitRecorder)
    try:
        log_end = LogEnd(database.service, read_models, recorder, EVENT_MACS)
        assert await log_end.trouble() is None
        opened = AccountOpened(
            **header(UUID(int=7), 1, datetime(2026, 11, 28, tzinfo=UTC)), user_id=UUID(int=8)
        )
        Forger(database).insert(made(opened))

        async with asyncio.timeout(10):
            while True:
                if (trouble := await log_end.trouble()) is not None:
                    break
                await asyncio.sleep(0.1)

        assert "the file of ledger keys is not that of this log" in trouble
    finally:
        await read_models.stop()
        application.close()
