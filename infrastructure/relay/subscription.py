"""Receives the stream's messages from now on, through a consumer that JetStream keeps in memory for
this connection, without acknowledgements, and that is made anew whenever something is wrong.

nats-py has an ordered consumer for this, which leaves tasks behind when a connection closes. It is
not needed here: the positions in the messages show every gap.

A message that this ledger did not write is never believed. It is counted, and it makes the
projector look into the log, but not often, however many such messages there are.
"""

import asyncio
import time
from collections.abc import Callable

import msgspec
import structlog
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from infrastructure.process.condition import Condition, State, keep_running
from infrastructure.relay.inbox import Inbox
from infrastructure.relay.messages import ForgedMessage, MessageCodec
from infrastructure.relay.nats_connection import READER_INBOX, nats_connection
from infrastructure.relay.settings import ProjectionSettings

log = structlog.get_logger()

# After so long without its connection JetStream forgets the consumer.
_INACTIVE_S = 10.0
# Between two lines of our log about forgeries: whoever can publish could fill the disk with them.
_SAID_S_MIN = 60.0


class Forgeries:
    """Messages that this ledger did not write. count: since the process started. last: what was
    wrong with the last one. clock_s: seconds that never go back."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.count = 0
        self.last: str | None = None
        self._clock_s = clock_s
        self._said_at = float("-inf")

    def add(self, reason: str) -> None:
        self.count += 1
        self.last = reason
        now = self._clock_s()
        if now - self._said_at >= _SAID_S_MIN:
            self._said_at = now
            log.warning(
                "forged_message_refused",
                reason=reason,
                count=self.count,
                advice="somebody else can publish to the stream of events; give the users of"
                " NATS_URL and NATS_READ_URL new passwords. Balances are read from PostgreSQL",
            )


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
        """From now on only messages that this codec proves are taken; with None, none at all, for
        the time in which nobody projects here."""
        self._codec = codec

    def renew(self) -> None:
        """Make the consumer anew, because events in the log did not come as messages."""
        self._renewal.set()

    async def run(self) -> None:
        """Runs until cancelled."""
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
                    # The relay makes the stream; a user who only reads may not be allowed to.
                    await asyncio.sleep(settings.backoff_s_min)
            # Messages from before this consumer were missed.
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
            # From another version of the service: what it holds is read from the log.
            self._inbox.miss()
        except ForgedMessage as error:
            self.refuse(str(error))
        # nats-py handles what it has received without a pause, so a flood would stop everything
        # else in this event loop.
        await asyncio.sleep(0)

    def refuse(self, reason: str) -> None:
        """Count a forged message. One of ours may be missing in its place, so the log is looked
        into."""
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
