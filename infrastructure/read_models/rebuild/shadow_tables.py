"""The shadow tables of a rebuild, filled from the log."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

from psycopg import AsyncConnection

from application.ledger.event_macs import StateMacs
from infrastructure.log.reader import ReadBounds, find_stretch_end, read_log
from infrastructure.log.workers import Crew, WorkerPool, worker_pool
from infrastructure.read_models.rebuild.copy import BulkWriter, NotWritten
from infrastructure.read_models.rebuild.stretch import Folded, Folder, FoldPlan
from infrastructure.read_models.row_sql import RowSql
from infrastructure.read_models.statement_pipeline import StatementPipeline
from infrastructure.read_models.writer import WRITER_SESSION, row_statements
from projections.registry import Projection

SHADOW_SCHEMA = "read_shadow"


@dataclass(frozen=True, kw_only=True)
class ReplayBounds:
    """events_max, bytes_max: of a stretch, which is folded in memory and written at once.
    processes: how many may fold beside the one that writes, each on a core of its own; a stretch
    for each and two more are in memory at a time. process_events_min: below this many events
    another process costs more to start than it saves."""

    events_max: int = 10_000
    bytes_max: int = 16 * 2**20
    processes: int = 1
    process_events_min: int = 100_000
    connect_timeout_s: int = 5

    def pool(self, events: int) -> AbstractContextManager[WorkerPool]:
        """Workers for about this many events."""
        return worker_pool(min(self.processes, events // self.process_events_min))


class Replay:
    """Fills the shadow tables from the log.

    position: of the last event that is in them. after: the projections that are filled, each with
    the position that its rows hold already. connection: what the rows are written with, in
    autocommit or in a transaction; nobody else may use it meanwhile. service_url: of the same
    database, to read the log from.
    """

    def __init__(
        self,
        connection: AsyncConnection[Any],
        service_url: str,
        sql: RowSql,
        after: Mapping[Projection, int],
        *,
        bounds: ReplayBounds,
        macs: StateMacs,
    ) -> None:
        self._connection = connection
        self._macs = macs
        self._service_url = service_url
        self._sql = sql
        self._bounds = bounds
        self._writer = BulkWriter(connection)
        self._pipeline = StatementPipeline(connection)
        self.after = after
        self.position = 0

    @classmethod
    async def start(
        cls,
        connection: AsyncConnection[Any],
        service_url: str,
        projections: Sequence[Projection],
        bounds: ReplayBounds,
        macs: StateMacs,
    ) -> "Replay":
        for setting in WRITER_SESSION:
            await connection.execute(setting)
        await empty_shadow(connection, projections)
        sql = await RowSql.load(connection, SHADOW_SCHEMA)
        after = dict.fromkeys(projections, 0)
        return cls(connection, service_url, sql, after, bounds=bounds, macs=macs)

    async def fill(self, pool: WorkerPool, until: int, on_position: Callable[[int], None]) -> None:
        """Takes in every event up to position `until`. Stretches are folded while earlier ones
        are written. Raises MapperDeserialisationError, psycopg.Error."""
        plan = FoldPlan(
            service_url=self._service_url,
            sql=self._sql,
            positions={projection.name: position for projection, position in self.after.items()},
            bounds=ReadBounds(events_max=self._bounds.events_max, bytes_max=self._bounds.bytes_max),
            connect_timeout_s=self._bounds.connect_timeout_s,
            macs=self._macs,
        )
        # Workers keep what they were started with, so each plan has a crew of its own.
        crew = pool.crew(f"fold behind {plan.positions}", partial(Folder, plan))
        stretches = _Stretches(crew, self._find_end(until), self.position, until)
        while (folded := await stretches.next()) is not None:
            try:
                await self._writer.write(folded)
                self.position = folded.until
            except NotWritten:
                await self.follow(folded.until)
            on_position(self.position)

    def _find_end(self, until: int) -> Callable[[int], Awaitable[int]]:
        def find_end(after: int) -> Awaitable[int]:
            return find_stretch_end(
                self._connection, after=after, until=until, events=self._bounds.events_max
            )

        return find_end

    async def follow(self, until: int) -> None:
        """Writes as the live projector does, which takes rows that are there already: for what
        comes last, and for what COPY cannot write. Raises MapperDeserialisationError,
        psycopg.Error."""
        while self.position < until and (
            events := await read_log(
                self._connection,
                after=self.position,
                until=until,
                bounds=ReadBounds(),
                topics=self._topics,
            )
        ):
            rows = row_statements(self._sql, events, self.after, self._macs)
            await self._pipeline.run(rows)
            self.position = events[-1].position
        self.position = max(self.position, until)

    @property
    def _topics(self) -> list[str]:
        return sorted(
            {event_type.TOPIC for projection in self.after for event_type in projection.handlers}
        )


class _Stretches:
    """What the workers have folded, in the order of the log."""

    def __init__(
        self,
        crew: Crew[Folder],
        find_end: Callable[[int], Awaitable[int]],
        after: int,
        until: int,
    ) -> None:
        self._crew = crew
        self._find_end = find_end
        self._after = after
        self._until = until
        self._waiting: deque[tuple[int, Future[Folded]]] = deque()

    async def next(self) -> Folded | None:
        while len(self._waiting) < self._crew.ahead and self._after < self._until:
            end = await self._find_end(self._after)
            self._waiting.append((end, self._fold(self._after, end)))
            self._after = end
        if not self._waiting:
            return None
        end, folding = self._waiting.popleft()
        folded = await asyncio.wrap_future(folding)
        if folded.until < end:
            # It held too many bytes and was ended early; this is its other part.
            self._waiting.appendleft((end, self._fold(folded.until, end)))
        return folded

    def _fold(self, after: int, until: int) -> Future[Folded]:
        return self._crew.submit(Folder.fold, after, until)


async def empty_shadow(connection: AsyncConnection[Any], projections: Sequence[Projection]) -> None:
    await connection.execute("SELECT read_shadow.begin(%s)", (tables_of(projections),))


def tables_of(projections: Sequence[Projection]) -> list[str]:
    return [table for projection in projections for table in projection.tables]
