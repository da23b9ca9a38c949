"""Reads the checkpoints that were published to NATS."""

from typing import IO
from uuid import UUID

from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from infrastructure.process.condition import describe
from infrastructure.proofs.checkpoints.settings import CheckpointSettings
from infrastructure.relay.nats_connection import READER_INBOX, nats_connection


class PublishedUnavailable(Exception):
    """NATS cannot be read. The text says why."""


async def copy_published(
    nats_url: str, settings: CheckpointSettings, log_id: UUID, file: IO[bytes]
) -> int:
    """Write the log's checkpoints as lines, oldest first. Returns how many there are. Raises
    PublishedUnavailable."""
    connections, subject = settings.connections, settings.subject(log_id)
    try:
        async with nats_connection(
            nats_url, name="chatledger verify", inbox=READER_INBOX, settings=connections
        ) as nats:
            try:
                last = await nats.jetstream.get_last_msg(settings.stream, subject)
            except NotFoundError:
                return 0
            messages = await nats.jetstream.subscribe(
                subject, stream=settings.stream, ordered_consumer=True
            )
            count, sequence = 0, 0
            while sequence < (last.seq or 0):
                message = await messages.next_msg(timeout=connections.ack_timeout_s)
                sequence = message.metadata.sequence.stream
                file.write(message.data.replace(b"\n", b" ") + b"\n")
                count += 1
            file.flush()
            return count
    except (OSError, TimeoutError, NatsError) as error:
        raise PublishedUnavailable(f"the stream {settings.stream}: {describe(error)}") from error
