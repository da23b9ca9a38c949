"""Publishes checkpoints to NATS: to a stream that no message can be deleted from, with a subject
for each log."""

import asyncio
from contextlib import suppress
from typing import Any

from nats.js import JetStreamContext
from nats.js.api import RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError
from psycopg import AsyncConnection

from infrastructure.database.leader import Leader
from infrastructure.process.condition import Condition, State
from infrastructure.proofs.checkpoints.records import BadRecord, SignedCheckpoint
from infrastructure.proofs.checkpoints.settings import CheckpointSettings
from infrastructure.proofs.checkpoints.signed_log import LogDisagrees, query_on
from infrastructure.proofs.checkpoints.signer import records_after, stored_number
from infrastructure.proofs.checkpoints.signing_key import PublicKey
from infrastructure.proofs.checkpoints.tree_store import read_log_id
from infrastructure.relay.nats_connection import RELAY_INBOX, ensure, nats_connection

# Any number will do, if all versions of the service use the same.
PUBLISHER_LOCK = 7_203_554_006
_NAME = "chatledger checkpoint publisher"


def checkpoint_stream(settings: CheckpointSettings) -> StreamConfig:
    return StreamConfig(
        name=settings.stream,
        subjects=[settings.subjects],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        num_replicas=settings.connections.stream_replicas,
        deny_delete=True,
        deny_purge=True,
    )


class CheckpointPublisher:
    """Only one at a time works for a database: the one that holds an advisory lock. While NATS is
    away, checkpoints are still signed and written to the file. They are published later."""

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
            times=settings.connections.leader_times,
            condition=self.condition,
        )

    async def run(self) -> None:
        """Until cancelled."""
        await self._leader.run(self._lead)

    async def _lead(self, database: AsyncConnection[Any]) -> None:
        connections = self._settings.connections
        async with nats_connection(
            self._nats_url, name=_NAME, inbox=RELAY_INBOX, settings=connections
        ) as nats:
            await ensure(nats.jetstream, checkpoint_stream(self._settings))
            query = query_on(database)
            subject = self._settings.subject(await read_log_id(query))
            last = await self._last(nats.jetstream, subject)
            number = await stored_number(query, last, f"the stream {self._settings.stream}")
            self.condition.enter(State.WORKING)
            while not nats.closed.is_set():
                async for upto, records in records_after(query, number, self._key):
                    for record in records:
                        await self._publish(nats.jetstream, subject, record)
                    number = upto
                await asyncio.sleep(connections.poll_s)
            raise ConnectionError("the connection to NATS was closed")

    async def _last(self, jetstream: JetStreamContext, subject: str) -> SignedCheckpoint | None:
        """The last published checkpoint of this key. Raises LogDisagrees."""
        stream = self._settings.stream
        try:
            sequence = (await jetstream.get_last_msg(stream, subject)).seq or 0
        except NotFoundError:
            return None
        # Messages of somebody else with NATS's password may follow it; they cannot be deleted.
        passed_max = self._settings.foreign_messages_max
        for number in range(sequence, max(0, sequence - passed_max), -1):
            with suppress(NotFoundError, BadRecord):
                message = await jetstream.get_msg(stream, number)
                record = SignedCheckpoint.from_line(message.data or b"")
                if message.subject == subject and record.is_signed_by(self._key):
                    return record
        if sequence <= passed_max:
            return None
        raise LogDisagrees(
            f"the last {passed_max} messages of the stream {stream} are not ours: somebody else can"
            " publish there; give the users of NATS_URL and NATS_READ_URL new passwords, and set"
            " NATS_STREAM to a new name"
        )

    async def _publish(
        self, jetstream: JetStreamContext, subject: str, record: SignedCheckpoint
    ) -> None:
        await jetstream.publish(
            subject,
            record.line.encode("ascii"),
            stream=self._settings.stream,
            headers={"Nats-Msg-Id": record.checkpoint.hash.hex()},
        )
