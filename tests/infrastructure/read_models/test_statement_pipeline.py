import asyncio
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection

from infrastructure.read_models.statement_pipeline import StatementPipeline
from tests.support.database_proxy import DatabaseProxy
from tests.support.servers import DatabaseUrls


async def a_waiting_pipeline(connection: AsyncConnection[Any]) -> "asyncio.Task[None]":
    """Under way for as long as the database is there."""
    task = asyncio.create_task(StatementPipeline(connection).run([(b"SELECT pg_sleep(60)", ())]))
    await asyncio.sleep(0)  # everything is sent
    assert not task.done()
    return task


async def test_the_event_loop_forgets_a_connection_that_was_lost(database: DatabaseUrls) -> None:
    """A server gives the number of a closed socket to the next client, who would wait for ever if
    the event loop took the new socket for one that it watches already."""
    with DatabaseProxy(database.service) as proxy:
        connection = await AsyncConnection.connect(proxy.url, autocommit=True)
        number = connection.fileno()
        task = await a_waiting_pipeline(connection)
        proxy.cut()
        with pytest.raises(psycopg.OperationalError):
            await task
    assert not asyncio.get_running_loop().remove_reader(number)
    assert not asyncio.get_running_loop().remove_writer(number)
