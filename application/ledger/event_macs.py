"""What proves that the ledger itself wrote a stored event: a MAC, the last field of its state.

It stands there as `,"mac":"<key id>.<base64>"}`, so a stored state stays plain JSON and the MAC
goes wherever the state goes. It is made of the stream, the version, the topic and the state without
that field; docs/audit.md has it byte for byte. Whoever can write to the database but does not have
the keys can add rows, but no event that is believed.
"""

from binascii import b2a_base64
from functools import lru_cache
from hmac import compare_digest
from struct import Struct
from uuid import UUID

from eventsourcing.persistence import MapperDeserialisationError

from application.ledger.keys import LedgerKeys, MacKeys, UnknownKey

# How much of a topic an error shows: a stranger may have written it.
_TOPIC_TOLD_MAX = 100
_MARK = b',"mac":"'
_END = b'"}'
# The mark, an id of up to 32 characters, a dot, 44 characters of base64 and the end.
_SUFFIX_BYTES_MAX = len(_MARK) + 32 + 1 + 44 + len(_END)
_VERSION = Struct("!q").pack
_LENGTH = Struct("!I").pack
# Our events have a few dozen topics; rows that strangers write may have any number.
_TOPICS_KEPT_MAX = 256


class StreamDamaged(MapperDeserialisationError):
    """A stream cannot be believed, so nothing is decided on it.

        StreamDamaged
        ├── EventNotAuthentic
        └── VersionMissing

    position: in the log, where it is known.
    """

    def __init__(
        self, stream_id: UUID | str, version: int, what: str, position: int | None = None
    ) -> None:
        self.stream_id = stream_id
        self.version = version
        self.what = what
        self.position = position
        where = "" if position is None else f", at position {position} of the log,"
        super().__init__(
            f"version {version} of stream {stream_id}{where} {what}; nothing is decided on this"
            " stream. See docs/audit.md for what to do"
        )

    def at(self, position: int | None) -> "StreamDamaged":
        return type(self)(self.stream_id, self.version, self.what, position)

    def __reduce__(self) -> tuple[object, ...]:
        """It comes back from other processes."""
        return type(self), (self.stream_id, self.version, self.what, self.position)


class EventNotAuthentic(StreamDamaged):
    """It was written or changed by somebody other than this ledger."""


class VersionMissing(StreamDamaged):
    """The version that should come next is not there."""


class StateMacs:
    """MACs of the states that are stored for one purpose. stream: the 16 bytes of its id."""

    def __init__(self, keys: MacKeys) -> None:
        self._keys = keys
        self._suffix_start = _MARK + keys.current_id.encode() + b"."

    def add(self, stream: bytes, version: int, topic: str, state: bytes) -> bytes:
        """The state with its MAC. state: a JSON object that is not empty."""
        body = state[:-1]
        mac = self._keys.mac(_message(stream, version, topic, body))
        return b"".join((body, self._suffix_start, b2a_base64(mac, newline=False), _END))

    def seal(self, stream: bytes, version: int, topic: str, state: bytes) -> str:
        """Key id and MAC of a state without one, as they would stand in it."""
        mac = self._keys.mac(_message(stream, version, topic, state[:-1]))
        return f"{self._keys.current_id}.{b2a_base64(mac, newline=False).decode()}"

    def doubt(self, stream: bytes, version: int, topic: str, state: bytes) -> str | None:
        """What is wrong with the state's MAC, as the end of a sentence; None where it is right."""
        place = state.rfind(_MARK, -_SUFFIX_BYTES_MAX)
        if place < 0 or not state.endswith(_END):
            return "carries no MAC"
        key_id, _, given = state[place + len(_MARK) : -len(_END)].partition(b".")
        try:
            mac = self._keys.mac_under(
                key_id.decode(), _message(stream, version, topic, state[:place])
            )
        except (UnknownKey, UnicodeDecodeError):
            return f"carries a MAC under the key {key_id!r}, which is not in the key file"
        # As text, because several base64 texts decode to the same bytes.
        if not compare_digest(given, b2a_base64(mac, newline=False)):
            return "carries a MAC that is not its own"
        return None

    def check(self, stream_id: UUID, version: int, topic: str, state: bytes) -> None:
        """Raises EventNotAuthentic."""
        doubt = self.doubt(stream_id.bytes, version, topic, state)
        if doubt is not None:
            raise not_authentic(stream_id, version, topic, doubt)


def not_authentic(
    stream_id: UUID | str, version: int, topic: str, doubt: str, position: int | None = None
) -> EventNotAuthentic:
    told = topic[:_TOPIC_TOLD_MAX]
    return EventNotAuthentic(
        stream_id, version, f"was not written by this ledger: {told!r} {doubt}", position
    )


def event_macs(keys: LedgerKeys) -> StateMacs:
    return StateMacs(keys.for_purpose("events"))


def snapshot_macs(keys: LedgerKeys) -> StateMacs:
    return StateMacs(keys.for_purpose("snapshots"))


def _message(stream: bytes, version: int, topic: str, body: bytes) -> bytes:
    return b"".join((stream, _VERSION(version), _named(topic), body))


@lru_cache(_TOPICS_KEPT_MAX)
def _named(topic: str) -> bytes:
    """The topic with its length before it."""
    name = topic.encode()
    return _LENGTH(len(name)) + name
