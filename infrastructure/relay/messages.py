"""Events on their way through NATS: many in one message, with the positions that show a gap, and
with a MAC, because whoever gets a password of NATS can publish there."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from application.ledger.keys import MAC_BYTES, LedgerKeys, UnknownKey
from infrastructure.log.reader import LoggedEvent

_FORMAT = b"chatledger message v1\n"
# An upper bound for the key's id, the MAC and their framing.
_ENVELOPE_BYTES = 128
_ID_MAC_BYTES = 8


class ForgedMessage(Exception):
    """The message's MAC does not prove that this ledger wrote it for this stream; the text says
    why."""


class PackedEvents(msgspec.Struct, frozen=True, array_like=True):
    """first and last: positions of the first and the last event. previous: position of the event
    before the first, 0 at the beginning of the log; positions may have gaps, so only this shows
    whether something is missing. events: empty where they are too large for the transport, and have
    to be read from the log."""

    first: int
    last: int
    previous: int
    events: list[LoggedEvent]


class _Envelope(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """body: the packed events. mac: HMAC-SHA-256 over format, stream, log and body."""

    key_id: str
    mac: bytes
    body: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(PackedEvents)
_envelope_decoder = msgspec.msgpack.Decoder(_Envelope)


class MessageCodec:
    """For the messages of one log in one stream; those of another log or stream are refused."""

    def __init__(self, keys: LedgerKeys, *, stream: str, log: UUID) -> None:
        self._keys = keys.for_purpose("messages")
        name = stream.encode()
        self._context = _FORMAT + len(name).to_bytes(4, "big") + name + log.bytes

    def pack(
        self, events: Sequence[LoggedEvent], *, previous: int, bytes_max: int
    ) -> tuple[str, bytes]:
        """The message's id and the message. JetStream drops a second message with the same id.
        Nobody can know the id beforehand, so nobody can keep the message out by using it first."""
        first, last = events[0].position, events[-1].position
        packed = PackedEvents(first=first, last=last, previous=previous, events=list(events))
        body = _encoder.encode(packed)
        if len(body) > bytes_max - _ENVELOPE_BYTES:
            body = _encoder.encode(msgspec.structs.replace(packed, events=[]))
        mac = self._keys.mac(self._context + body)
        envelope = _Envelope(key_id=self._keys.current_id, mac=mac, body=body)
        return f"{first}-{last}-{mac[:_ID_MAC_BYTES].hex()}", _encoder.encode(envelope)

    def unpack(self, data: bytes) -> PackedEvents:
        """Raises ForgedMessage for anything that `pack` did not make, and msgspec.MsgspecError for
        what another version of it made."""
        try:
            envelope = _envelope_decoder.decode(data)
        except (ValueError, RecursionError):  # of msgspec, too
            raise ForgedMessage("it has no MAC") from None
        try:
            proven = len(envelope.mac) == MAC_BYTES and self._keys.proves(
                envelope.key_id, envelope.mac, self._context + envelope.body
            )
        except UnknownKey:
            raise ForgedMessage("its key is not in the key file") from None
        if not proven:
            raise ForgedMessage("its MAC is wrong")
        return _decoder.decode(envelope.body)
