"""Receives the stream's messages from now on, through an ordered consumer: one that JetStream
keeps in memory for this connection, without acknowledgements, and that is made anew whenever
something is wrong. The library's own helper for this leaves tasks behind when a connection
closes; here every gap is seen by the positions in the messages, so none of it is needed.

A message that this ledger did not write is no more than a reason to look into the log, and that
not often, however many of them there are."""

import asyncio

import msgspec
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from infrastructure.process.condition import Condition, State, keep_running
from infrastructure.relay.forgeries import Forgeries
from infrastructure.relay.inbox import Inbox
from infrastructure.relay.messages import ForgedMessage, MessageCodec
from infrastructure.relay.nats_connection import READER_INBOX, nats_connection
from infrastructure.relay.settings import ProjectionSettings

# After so long without its connection JetStream forgets the consumer.
_INACTIVE_S = 10.0


class Subscription:
    """forgeries: what was received and not believed."""

    def __init__(self, nats_url: str, settings: ProjectionSettings, inbox: Inbox) -> None:
        self.forgeries = Forgeries()
        self._codec: MessageCodec | None = None
        self._looked_at = float("-inf")
        self._nats_url = nats_url
        self._settings = settings
        self._inbox = inbox
        self._renewal = asyncio.Event()
        self.condition = Condition("subscription")

    @property
    def working(self) -> bool:
        return self.condition.state is State.WORKING

    def believe(self, codec: MessageCodec | None) -> None:
        """Only what this codec proves from now on; None while nobody projects here."""
        self._codec = codec

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
            self._nats_url, name="chatledger projector", inbox=READER_INBOX, settings=settings
        ) as nats:
            deliver_subject = nats.client.new_inbox()
            await nats.client.subscribe(deliver_subject, cb=self._receive)
            consumer = ConsumerConfig(
                deliver_subject=deliver_subject,
                deliver_policy=DeliverPolicy.NEW,
                ack_policy=AckPolicy.NONE,
                max_deliver=1,
                mem_storage=True,
                num_replicas=1,
                inactive_threshold=_INACTIVE_S,
            )
            while not nats.closed.is_set():
                try:
                    await nats.jetstream.add_consumer(settings.stream, consumer)
                    break
                except NotFoundError:
                    # The relay makes the stream; who only reads need not be allowed to.
                    await asyncio.sleep(settings.backoff_s_min)
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
        if self._codec is None:
            return
        try:
            self._inbox.put(self._codec.unpack(message.data))
        except msgspec.MsgspecError:
            # Of another version: the log says what it was about.
            self._inbox.miss()
        except ForgedMessage as error:
            self.refuse(str(error))
        # What is received is handled without a pause otherwise, and a flood would leave nobody else
        # a turn.
        await asyncio.sleep(0)

    def refuse(self, reason: str) -> None:
        """It may stand in the place of a message of ours, which the log has."""
        self.forgeries.add(reason)
        now = asyncio.get_running_loop().time()
        if now - self._looked_at >= self._settings.poll_s:
            self._looked_at = now
            self._inbox.miss()


async def _first_of(*events: asyncio.Event) -> None:
    tasks = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
