"""Makes every read model anew, up to the same event as the stored one, and compares the rows.

The rebuild's replay makes them in its shadow tables, and the database compares them, so memory
stays constant. Writes and queries go on meanwhile.
"""

import time
from collections.abc import Sequence
from typing import Any

import psycopg
from eventsourcing.persistence import MapperDeserialisationError
from psycopg import AsyncConnection, IsolationLevel, sql

from application.ledger.event_macs import StateMacs
from infrastructure.log.workers import WorkerPool
from infrastructure.proofs.verify.report import Difference, Findings, PartReport, Progress
from infrastructure.read_models.rebuild.rebuild import shadow_locked
from infrastructure.read_models.rebuild.shadow_tables import (
    SHADOW_SCHEMA,
    Replay,
    ReplayBounds,
    empty_shadow,
)
from infrastructure.read_models.row_sql import RowSql
from infrastructure.read_models.writer import READ_SCHEMA
from projections.registry import PROJECTIONS

# How many differences of a table are listed.
_ROWS_MAX = 20
# The replay has switched these plans off, but a comparison of whole tables needs them.
_PLANS = ("enable_seqscan", "enable_hashjoin", "enable_mergejoin")

_COMPARE = """
SELECT count(*) OVER (), concat_ws(', ', {keys}), to_jsonb(a), to_jsonb(b)
FROM {stored} AS a FULL JOIN {made} AS b USING ({names})
WHERE a IS DISTINCT FROM b ORDER BY {names} LIMIT %s
"""


async def verify_read_models(
    pool: WorkerPool,
    service_url: str,
    macs: StateMacs,
    *,
    bounds: ReplayBounds,
    on_progress: Progress,
) -> list[PartReport]:
    """One report for each table. Raises RebuildInProgress, psycopg.Error."""
    async with (
        await AsyncConnection.connect(
            service_url,
            autocommit=True,
            application_name="chatledger verify",
            connect_timeout=bounds.connect_timeout_s,
        ) as connection,
        shadow_locked(connection),
    ):
        replay = await Replay.start(connection, service_url, PROJECTIONS, bounds, macs)
        positions = await _positions(connection)
        try:
            await _replay(pool, replay, min(positions.values()), on_progress)
            # From here on all is read as of one moment, so that rows and positions fit each other.
            await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
            async with connection.transaction():
                positions = await _positions(connection)
                for target in sorted(set(positions.values())):
                    replay.after = {
                        projection: replay.position
                        for projection in PROJECTIONS
                        if positions[projection.name] >= target
                    }
                    await _replay(pool, replay, target, on_progress)
                return await _compare_all(connection, positions)
        except (MapperDeserialisationError, psycopg.IntegrityError, psycopg.DataError) as error:
            return [_cannot_be_made(replay.position, error)]
        finally:
            await connection.set_isolation_level(None)
            await empty_shadow(connection, PROJECTIONS)


async def _positions(connection: AsyncConnection[Any]) -> dict[str, int]:
    """The stored positions. Nothing is locked or written, so projectors are not disturbed."""
    cursor = await connection.execute("SELECT projection, position FROM read.positions")
    stored = dict(await cursor.fetchall())
    return {projection.name: stored.get(projection.name, 0) for projection in PROJECTIONS}


async def _replay(pool: WorkerPool, replay: Replay, until: int, on_progress: Progress) -> None:
    if replay.position < until:
        await replay.fill(pool, until, lambda position: on_progress(0.9 * position / until))


async def _compare_all(
    connection: AsyncConnection[Any], positions: dict[str, int]
) -> list[PartReport]:
    for plan in _PLANS:
        await connection.execute(f"SET LOCAL {plan} = on".encode())
    primary_keys = (await RowSql.load(connection, READ_SCHEMA)).primary_keys
    return [
        await _compare(connection, table, primary_keys[table], positions[projection.name])
        for projection in PROJECTIONS
        for table in projection.tables
    ]


async def _compare(
    connection: AsyncConnection[Any], table: str, keys: Sequence[str], position: int
) -> PartReport:
    began = time.monotonic()
    stored, made = sql.Identifier(READ_SCHEMA, table), sql.Identifier(SHADOW_SCHEMA, table)
    names = sql.SQL(", ").join(sql.Identifier(key) for key in keys)
    compare = sql.SQL(_COMPARE).format(keys=names, names=names, stored=stored, made=made)
    cursor = await connection.execute(compare, (_ROWS_MAX,))
    findings = Findings()
    for count, key, is_stored, is_made in await cursor.fetchall():
        findings.add(_difference(table, key, is_stored, is_made))
        findings.count = count
    cursor = await connection.execute(sql.SQL("SELECT count(*) FROM {}").format(stored))
    ((rows,),) = await cursor.fetchall()
    return PartReport(
        name=f"read.{table}",
        what=f"rows as of position {position}",
        checked=rows,
        seconds=time.monotonic() - began,
        findings=findings,
    )


def _difference(
    table: str, key: str, stored: dict[str, Any] | None, made: dict[str, Any] | None
) -> Difference:
    if stored is None:
        text = f"row {key} of read.{table} is missing"
    elif made is None:
        text = f"row {key} of read.{table} comes from no event"
    else:
        changed = (
            _changed_text(name, value, made[name])
            for name, value in stored.items()
            if value != made[name]
        )
        text = f"row {key} of read.{table} was changed: {'; '.join(changed)}"
    position = (made or stored or {}).get("position")
    return Difference(where=f"read.{table}", row=key, position=position, text=text)


def _changed_text(column: str, stored: object, made: object) -> str:
    """Shows numbers only, because texts may be personal."""
    if isinstance(stored, int) and isinstance(made, int):
        return f"{column} is {stored} and by the log {made}"
    return f"{column} is not what the log says"


def _cannot_be_made(position: int, error: Exception) -> PartReport:
    findings = Findings()
    text = error.diag.message_primary if isinstance(error, psycopg.Error) else str(error)
    findings.add(
        Difference(
            where="read models",
            text=f"the rows cannot be made from the events behind position {position}: {text}",
        )
    )
    return PartReport(name="read models", what="rows", checked=0, seconds=0.0, findings=findings)
