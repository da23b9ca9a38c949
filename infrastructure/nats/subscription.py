"""Receives the stream's messages from now on, through an ordered consumer: one that JetStream
keeps in memory for this connection, without acknowledgements, and that is made anew whenever
something is wrong. The library's own helper for this leaves tasks behind when a connection
closes; here every gap is seen by the positions in the messages, so none of it is needed."""

import asyncio

import msgspec
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from infrastructure.condition import Condition, State, keep_running
from infrastructure.nats.connection import ensure_stream, nats_connection
from infrastructure.nats.inbox import Inbox
from infrastructure.nats.messages import unpack
from infrastructure.nats.settings import ProjectionSettings

# After so long without its connection JetStream forgets the consumer.
_INACTIVE_S = 10.0


class Subscription:
    def __init__(self, nats_url: str, settings: ProjectionSettings, inbox: Inbox) -> None:
        self._nats_url = nats_url
        self._settings = settings
        self._inbox = inbox
        self._renewal = asyncio.Event()
        self.condition = Condition("subscription")

    @property
    def working(self) -> bool:
        return self.condition.state is State.WORKING

    def renew(self) -> None:
        """Events are in the log and did not come: the consumer is made anew."""
        self._renewal.set()

    async def run(self) -> None:
        """Until cancelled."""
        await keep_running(
            self._session,
            self.condition,
            backoff_s_min=self._settings.backoff_s_min,
            backoff_s_max=self._settings.backoff_s_max,
        )

    async def _session(self) -> None:
        settings = self._settings
        self._renewal.clear()
        async with nats_connection(
            self._nats_url, name="chatledger projector", settings=settings
        ) as nats:
            await ensure_stream(nats.jetstream, settings)
            deliver_subject = nats.client.new_inbox()
            await nats.client.subscribe(deliver_subject, cb=self._receive)
            await nats.jetstream.add_consumer(
                settings.stream,
                ConsumerConfig(
                    deliver_subject=deliver_subject,
                    deliver_policy=DeliverPolicy.NEW,
                    ack_policy=AckPolicy.NONE,
                    max_deliver=1,
                    mem_storage=True,
                    num_replicas=1,
                    inactive_threshold=_INACTIVE_S,
                ),
            )
            # What came before this consumer.
            self._inbox.miss()
            self.condition.enter(State.WORKING)
            await _first_of(nats.closed, self._renewal)
            raise ConnectionError(
                "the connection to NATS was closed"
                if nats.closed.is_set()
                else "messages did not come"
            )

    async def _receive(self, message: Msg) -> None:
        try:
            self._inbox.put(unpack(message.data))
        except msgspec.MsgspecError:
            # Not ours, or of another version: the log says what it was about.
            self._inbox.miss()


async def _first_of(*events: asyncio.Event) -> None:
    tasks = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
