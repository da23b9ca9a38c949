"""Who may be an administrator: what the read model says, and what the log says since."""

from uuid import UUID

from psycopg import AsyncConnection

_REACHED = "SELECT coalesce(min(position), 0) FROM read.positions WHERE projection = 'users'"
_KNOWN = "SELECT user_id FROM read.users WHERE role = 'admin'"
# A read model that is being made anew has reached 0: then this reads the log once.
_SINCE = """
SELECT DISTINCT originator_id FROM ledger.ledger_events
WHERE notification_id > %s AND topic = 'user.role_assigned'
"""
_IS_EMPTY = "SELECT NOT EXISTS (SELECT FROM ledger.ledger_events)"


async def possible_administrators(service_url: str, *, connect_timeout_s: int) -> list[UUID]:
    """Every administrator, and perhaps some who no longer are; the log's own streams tell.

    Raises psycopg.Error.
    """
    async with await AsyncConnection.connect(
        service_url, autocommit=True, connect_timeout=connect_timeout_s
    ) as connection:
        # In this order, so that whoever is promoted meanwhile is in one of the two.
        row = await (await connection.execute(_REACHED)).fetchone()
        assert row is not None
        found = await (await connection.execute(_SINCE, (row[0],))).fetchall()
        found += await (await connection.execute(_KNOWN)).fetchall()
    return sorted({user_id for (user_id,) in found})


async def is_empty_ledger(service_url: str, *, connect_timeout_s: int) -> bool:
    """Raises psycopg.Error."""
    async with await AsyncConnection.connect(
        service_url, autocommit=True, connect_timeout=connect_timeout_s
    ) as connection:
        row = await (await connection.execute(_IS_EMPTY)).fetchone()
        assert row is not None
        return bool(row[0])
