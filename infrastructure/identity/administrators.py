"""Finds who may be an administrator: everybody whom the log has ever given a role."""

from collections.abc import AsyncGenerator
from uuid import UUID

from psycopg import AsyncConnection

# Asked of the log and not of a read model, because the service's role can write read models. It
# reads the whole log once: about a quarter of a second for a million events that are in memory.
_GIVEN_A_ROLE = """
SELECT DISTINCT originator_id FROM ledger.ledger_events WHERE topic = 'user.role_assigned'
"""
# Ids fetched at a time, so that any number of forged events takes no memory here.
_FETCHED_MAX = 1000
_IS_EMPTY = "SELECT NOT EXISTS (SELECT FROM ledger.ledger_events)"


async def possible_administrators(
    service_url: str, *, connect_timeout_s: int
) -> AsyncGenerator[UUID]:
    """Every administrator, and perhaps some who no longer are or never were one. Only the user's
    stream tells.

    Raises psycopg.Error.
    """
    async with (
        await AsyncConnection.connect(service_url, connect_timeout=connect_timeout_s) as connection,
        connection.cursor("administrators") as cursor,
    ):
        cursor.itersize = _FETCHED_MAX
        await cursor.execute(_GIVEN_A_ROLE)
        async for (user_id,) in cursor:
            yield user_id


async def is_empty_ledger(service_url: str, *, connect_timeout_s: int) -> bool:
    """Raises psycopg.Error."""
    async with await AsyncConnection.connect(
        service_url, autocommit=True, connect_timeout=connect_timeout_s
    ) as connection:
        row = await (await connection.execute(_IS_EMPTY)).fetchone()
        assert row is not None
        return bool(row[0])
