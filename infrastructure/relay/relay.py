"""Publishes the committed events, in order, to JetStream.

One relay at a time works for a database; it holds an advisory lock. It asks PostgreSQL where to go
on, because anybody may have published the stream's last message. Readers notice by the positions
in the messages what was published twice, or not at all.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from nats.js.api import PubAck
from psycopg import AsyncConnection

from application.ledger.keys import LedgerKeys
from infrastructure.database.leader import Leader
from infrastructure.log.reader import (
    COMMIT_CHANNEL,
    LoggedEvent,
    ReadBounds,
    find_stretch_end,
    read_head,
    read_identity,
    read_log,
)
from infrastructure.process.condition import Condition, State
from infrastructure.relay.messages import MessageCodec
from infrastructure.relay.nats_connection import (
    RELAY_INBOX,
    NatsConnection,
    ensure_stream,
    nats_connection,
)
from infrastructure.relay.settings import ProjectionSettings

# The number itself means nothing, but every version of the service must use the same one.
RELAY_LOCK = 7_203_554_002

# The position up to which every reader of this database is done; None where one has not begun.
ReadUpTo = Callable[[AsyncConnection[Any]], Awaitable[int | None]]


class Relay:
    """position: of the last event that JetStream has acknowledged. read_up_to: where the readers
    are, for a process that has not published yet."""

    def __init__(
        self,
        service_url: str,
        nats_url: str,
        settings: ProjectionSettings,
        keys: LedgerKeys,
        read_up_to: ReadUpTo,
    ) -> None:
        self._read_up_to = read_up_to
        self._nats_url = nats_url
        self._keys = keys
        self._settings = settings
        self._bounds = ReadBounds(
            events_max=settings.message_events_max, bytes_max=settings.message_bytes_max
        )
        self.condition = Condition("relay")
        self._leader = Leader(
            service_url,
            name="chatledger relay",
            lock=RELAY_LOCK,
            times=settings.leader_times,
            condition=self.condition,
        )
        self.position = 0

    async def run(self) -> None:
        """Runs until cancelled."""
        await self._leader.run(self._lead)

    async def _lead(self, database: AsyncConnection[Any]) -> None:
        settings = self._settings
        async with nats_connection(
            self._nats_url, name="chatledger relay", inbox=RELAY_INBOX, settings=settings
        ) as nats:
            await ensure_stream(nats.jetstream, settings)
            await database.execute(f"LISTEN {COMMIT_CHANNEL}".encode())
            codec = MessageCodec(
                self._keys, stream=settings.stream, log=await read_identity(database)
            )
            self.position = position = await self._resume(database)
            self.condition.enter(State.WORKING)
            publisher = Publisher(nats, settings, codec, self._acknowledged)
            try:
                while not nats.closed.is_set():
                    position = await self._publish_waiting(database, publisher, position)
                    await self._wait_for_commit(database)
                raise ConnectionError("the connection to NATS was closed")
            finally:
                publisher.give_up()

    async def _publish_waiting(
        self, database: AsyncConnection[Any], publisher: "Publisher", position: int
    ) -> int:
        """Publishes every event after `position`; returns the last one's position."""
        more = True
        while more:
            events = await read_log(database, after=position, bounds=self._bounds)
            more = self._bounds.filled_by(events)
            if events:
                await publisher.publish(events, previous=position)
                position = events[-1].position
        publisher.check()
        return position

    def _acknowledged(self, position: int) -> None:
        self.position = position

    async def _wait_for_commit(self, database: AsyncConnection[Any]) -> None:
        """Returns at once where a notification came since the last wait."""
        async for _ in database.notifies(timeout=self._settings.poll_s, stop_after=1):
            pass

    async def _resume(self, database: AsyncConnection[Any]) -> int:
        """The position after which to publish: where this relay was, or else where the readers are.
        It is the log's end where the readers have not begun, or are further behind than their
        inbox holds: then they read the log, and need nothing published again."""
        head = await read_head(database)
        position = self.position or await self._read_up_to(database)
        if position is None or position > head:
            return head
        end = await find_stretch_end(
            database, after=position, until=head, events=self._settings.inbox_events_max
        )
        return position if end == head else head


class Publisher:
    """Publishes without waiting for each acknowledgement, and notices when one fails or is
    overdue; after that it must not be used again. on_acknowledged: called with the last position of
    each message."""

    def __init__(
        self,
        nats: NatsConnection,
        settings: ProjectionSettings,
        codec: MessageCodec,
        on_acknowledged: Callable[[int], None],
    ) -> None:
        self._nats = nats
        self._settings = settings
        self._codec = codec
        self._on_acknowledged = on_acknowledged
        self._clock = asyncio.get_running_loop().time
        self._pending: deque[tuple[float, asyncio.Future[PubAck]]] = deque()

    async def publish(self, events: Sequence[LoggedEvent], *, previous: int) -> None:
        """Raises nats.errors.Error, or TimeoutError for an acknowledgement that is overdue."""
        self.check()
        if len(self._pending) >= self._settings.unacknowledged_max:
            async with asyncio.timeout(self._settings.ack_timeout_s):
                await asyncio.wait([self._pending[0][1]])
            self.check()
        message_id, body = self._codec.pack(
            events, previous=previous, bytes_max=self._nats.payload_bytes_max
        )
        future = await self._nats.jetstream.publish_async(
            self._settings.subject,
            body,
            stream=self._settings.stream,
            headers={"Nats-Msg-Id": message_id},
        )
        future.add_done_callback(partial(self._done, events[-1].position))
        self._pending.append((self._clock(), future))

    def check(self) -> None:
        """Raises what `publish` raises."""
        while self._pending and self._pending[0][1].done():
            self._pending.popleft()[1].result()
        if self._pending:
            sent_at_s = self._pending[0][0]
            if self._clock() - sent_at_s > self._settings.ack_timeout_s:
                raise TimeoutError("JetStream did not acknowledge in time")

    def give_up(self) -> None:
        for _, future in self._pending:
            future.cancel()
        self._pending.clear()

    def _done(self, position: int, future: asyncio.Future[PubAck]) -> None:
        # asyncio complains about a failure whose exception nobody has asked for.
        if not future.cancelled() and future.exception() is None:
            self._on_acknowledged(position)
