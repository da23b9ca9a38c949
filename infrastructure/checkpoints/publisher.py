"""Checkpoints on their way into NATS: a stream that nothing is deleted from, with a subject for
each log."""

import asyncio
from typing import Any

from nats.js import JetStreamContext
from nats.js.api import RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError, NotFoundError
from psycopg import AsyncConnection

from infrastructure.checkpoints.records import BadRecord, SignedCheckpoint
from infrastructure.checkpoints.settings import CheckpointSettings
from infrastructure.checkpoints.signed_log import LogDisagrees, rows_of
from infrastructure.checkpoints.signer import number_of, records_after
from infrastructure.checkpoints.signing_key import PublicKey
from infrastructure.checkpoints.tree_store import read_log_id
from infrastructure.condition import Condition, State
from infrastructure.leading import Leader
from infrastructure.nats.connection import nats_connection

# Any number, as long as every version of the service uses the same.
PUBLISHER_LOCK = 7_203_554_006
_NAME = "chatledger checkpoint publisher"


class CheckpointPublisher:
    """One at a time works for a database; it holds an advisory lock. With NATS away, checkpoints
    are signed and written to the file all the same, and published later."""

    def __init__(
        self, service_url: str, nats_url: str, settings: CheckpointSettings, key: PublicKey
    ) -> None:
        self._key = key
        self._nats_url = nats_url
        self._settings = settings
        self.condition = Condition("checkpoint_publisher")
        self._leader = Leader(
            service_url,
            name=_NAME,
            lock=PUBLISHER_LOCK,
            settings=settings.connections,
            condition=self.condition,
        )

    async def run(self) -> None:
        """Until cancelled."""
        await self._leader.run(self._lead)

    async def _lead(self, database: AsyncConnection[Any]) -> None:
        connections = self._settings.connections
        async with nats_connection(self._nats_url, name=_NAME, settings=connections) as nats:
            await self._ensure_stream(nats.jetstream)
            rows = rows_of(database)
            subject = self._settings.subject(await read_log_id(rows))
            last = await self._last(nats.jetstream, subject)
            number = await number_of(rows, last, f"the stream {self._settings.stream}")
            self.condition.enter(State.WORKING)
            while not nats.closed.is_set():
                async for upto, records in records_after(rows, number, self._key):
                    for record in records:
                        await self._publish(nats.jetstream, subject, record)
                    number = upto
                await asyncio.sleep(connections.poll_s)
            raise ConnectionError("the connection to NATS was closed")

    async def _ensure_stream(self, jetstream: JetStreamContext) -> None:
        config = StreamConfig(
            name=self._settings.stream,
            subjects=[self._settings.subjects],
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            num_replicas=self._settings.connections.stream_replicas,
            deny_delete=True,
            deny_purge=True,
        )
        try:
            await jetstream.add_stream(config)
        except BadRequestError:  # it is there with other replicas
            await jetstream.update_stream(config)

    async def _last(self, jetstream: JetStreamContext, subject: str) -> SignedCheckpoint | None:
        try:
            message = await jetstream.get_last_msg(self._settings.stream, subject)
            return SignedCheckpoint.from_line(message.data or b"")
        except NotFoundError:
            return None
        except BadRecord as error:
            raise LogDisagrees(f"the last message of {subject} is not ours: {error}") from None

    async def _publish(
        self, jetstream: JetStreamContext, subject: str, record: SignedCheckpoint
    ) -> None:
        await jetstream.publish(
            subject,
            record.line.encode("ascii"),
            stream=self._settings.stream,
            headers={"Nats-Msg-Id": record.checkpoint.hash.hex()},
        )
