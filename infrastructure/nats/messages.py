"""Events on their way through NATS: many in one message, with what it takes to notice a gap."""

from collections.abc import Sequence

import msgspec

from infrastructure.postgres.log_reader import LoggedEvent


class PackedEvents(msgspec.Struct, frozen=True, array_like=True):
    """first and last: positions of the first and the last event. previous: position of the event
    before the first, 0 at the beginning of the log; positions may have gaps, so only this shows
    whether something is missing. Without events, they are too large for the transport and have
    to be read from the log."""

    first: int
    last: int
    previous: int
    events: list[LoggedEvent]

    @property
    def message_id(self) -> str:
        """JetStream drops a message that it has already under this id."""
        return f"{self.first}-{self.last}"


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(PackedEvents)


def pack(events: Sequence[LoggedEvent], *, previous: int, bytes_max: int) -> tuple[str, bytes]:
    """The message's id and body."""
    packed = PackedEvents(
        first=events[0].position, last=events[-1].position, previous=previous, events=list(events)
    )
    body = _encoder.encode(packed)
    if len(body) > bytes_max:
        body = _encoder.encode(msgspec.structs.replace(packed, events=[]))
    return packed.message_id, body


def unpack(body: bytes) -> PackedEvents:
    """Raises msgspec.MsgspecError for anything that `pack` did not make."""
    return _decoder.decode(body)
