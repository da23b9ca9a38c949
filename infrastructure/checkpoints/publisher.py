"""Checkpoints on their way into NATS: a stream that nothing is deleted from, with a subject for
each log."""

import asyncio

from nats.js import JetStreamContext
from nats.js.api import RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError, NotFoundError

from infrastructure.checkpoints.records import BadRecord, SignedCheckpoint
from infrastructure.checkpoints.settings import CheckpointSettings
from infrastructure.checkpoints.signed_log import LogDisagrees, rows_of
from infrastructure.checkpoints.signer import number_of, records_after
from infrastructure.checkpoints.signing_key import PublicKey
from infrastructure.checkpoints.tree_store import read_log_id
from infrastructure.nats.condition import Condition, State, keep_running
from infrastructure.nats.connection import become_leader, database_connection, nats_connection

# Any number, as long as every version of the service uses the same.
PUBLISHER_LOCK = 7_203_554_006


class CheckpointPublisher:
    """One at a time works for a database; it holds an advisory lock. With NATS away, checkpoints
    are signed and written to the file all the same, and published later."""

    def __init__(
        self, service_url: str, nats_url: str, settings: CheckpointSettings, key: PublicKey
    ) -> None:
        self._service_url = service_url
        self._key = key
        self._nats_url = nats_url
        self._settings = settings
        self.condition = Condition("checkpoint_publisher")

    async def run(self) -> None:
        """Until cancelled."""
        await keep_running(
            self._session,
            self.condition,
            backoff_s_min=self._settings.connections.backoff_s_min,
            backoff_s_max=self._settings.connections.backoff_s_max,
        )

    async def _session(self) -> None:
        connections = self._settings.connections
        name = "chatledger checkpoint publisher"
        async with await database_connection(
            self._service_url, name=name, settings=connections
        ) as database:
            await become_leader(
                database,
                PUBLISHER_LOCK,
                connections,
                on_standby=lambda: self.condition.enter(State.STANDBY),
            )
            async with nats_connection(self._nats_url, name=name, settings=connections) as nats:
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
