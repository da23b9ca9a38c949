"""Keeps the read models up with the log: from JetStream as events come, and from PostgreSQL where
a message is missing or NATS is away."""

from collections.abc import Sequence
from typing import Any

import psycopg
from eventsourcing.persistence import MapperDeserialisationError
from psycopg import AsyncConnection

from application.ledger.event_macs import event_macs
from application.ledger.keys import LedgerKeys
from infrastructure.database.leader import Leader
from infrastructure.log.reader import (
    LoggedEvent,
    ReadBounds,
    are_in_log,
    read_identity,
    read_log,
)
from infrastructure.process.condition import Condition, State
from infrastructure.read_models.position_board import PositionBoard
from infrastructure.read_models.writer import PositionsMoved, ProjectionWriter
from infrastructure.relay.inbox import Inbox
from infrastructure.relay.messages import MessageCodec
from infrastructure.relay.settings import ProjectionSettings
from infrastructure.relay.subscription import Subscription
from projections.registry import PROJECTIONS

# The number itself means nothing, but every version of the service must use the same one.
PROJECTOR_LOCK = 7_203_554_003
# After this many polls in a row that found events which NATS did not bring, the subscription is
# renewed.
_SILENT_POLLS_MAX = 2


class Projector:
    """positions: what each projection holds, as last written by this process."""

    def __init__(
        self,
        service_url: str,
        settings: ProjectionSettings,
        *,
        inbox: Inbox,
        subscription: Subscription,
        board: PositionBoard,
        keys: LedgerKeys,
    ) -> None:
        self._settings = settings
        self._bounds = ReadBounds(
            events_max=settings.batch_events_max, bytes_max=settings.batch_bytes_max
        )
        self._inbox = inbox
        self._subscription = subscription
        self._board = board
        self._keys = keys
        self._macs = event_macs(keys)
        self.condition = Condition("projector")
        self._leader = Leader(
            service_url,
            name="chatledger projector",
            lock=PROJECTOR_LOCK,
            times=settings.leader_times,
            condition=self.condition,
        )
        self.positions: dict[str, int] = {}

    async def run(self) -> None:
        """Until cancelled."""
        await self._leader.run(self._lead)

    async def _lead(self, database: AsyncConnection[Any]) -> None:
        writer = await ProjectionWriter.open(database, PROJECTIONS, self._macs)
        codec = MessageCodec(
            self._keys, stream=self._settings.stream, log=await read_identity(database)
        )
        self._announce(writer)
        self._board.leading = True
        self._subscription.believe(codec)
        try:
            self._inbox.miss()
            await self._read_log(database, writer)
            self.condition.enter(State.WORKING)
            await self._follow(database, writer)
        finally:
            self._subscription.believe(None)
            self._board.leading = False

    async def _follow(self, database: AsyncConnection[Any], writer: ProjectionWriter) -> None:
        settings = self._settings
        silent_polls = 0
        while True:
            events = self._inbox.take(after=writer.position, events_max=settings.batch_events_max)
            if events and not await are_in_log(database, events):
                # A message from before this log was restored to an earlier state, delivered again.
                self._subscription.refuse("its events are not in the log")
                self._inbox.miss()
            elif events:
                silent_polls = 0
                await self._write(writer, events)
            elif events is None:
                first = self._inbox.first
                if not await self._read_log(database, writer):
                    # The log ends before this message: it is of another log, or already projected.
                    self._inbox.drop(first)
            else:
                working = self._subscription.working
                if await self._inbox.wait(settings.poll_s if working else settings.away_poll_s):
                    continue
                found = await self._read_log(database, writer)
                silent_polls = silent_polls + 1 if found and working else 0
                if silent_polls >= _SILENT_POLLS_MAX:
                    silent_polls = 0
                    self._subscription.renew()

    async def _read_log(self, database: AsyncConnection[Any], writer: ProjectionWriter) -> bool:
        """Project what the log has beyond the rows. Returns whether there was anything."""
        found = False
        while events := await read_log(database, after=writer.position, bounds=self._bounds):
            found = True
            await self._write(writer, events)
        return found

    async def _write(self, writer: ProjectionWriter, events: Sequence[LoggedEvent]) -> None:
        try:
            await self._write_to_first_failure(writer, events)
        except PositionsMoved:
            # A rebuild has written further; what is missing now is read from the log.
            await writer.load_positions()
            self._inbox.miss()
        finally:
            self._announce(writer)

    async def _write_to_first_failure(
        self, writer: ProjectionWriter, events: Sequence[LoggedEvent]
    ) -> None:
        """One event that cannot be projected does not hold up those before it."""
        try:
            await writer.write(events)
        except (MapperDeserialisationError, psycopg.DataError, psycopg.IntegrityError):
            if len(events) == 1:
                raise
            middle = len(events) // 2
            await self._write_to_first_failure(writer, events[:middle])
            await self._write_to_first_failure(writer, events[middle:])

    def _announce(self, writer: ProjectionWriter) -> None:
        self.positions = dict(writer.positions)
        self._board.announce(writer.position)
