"""Events to stored events and back.

`eventsourcing`'s Mapper with msgspec in the place of its transcoder: an event comes back with
the exact types it was written with (enums, tuples, UUIDs, nested dataclasses), and a stored
state is plain JSON that any tool can read. A MAC in it proves that the ledger wrote it.

An event class whose fields change raises its `class_version` (one without it is of version 1) and
gets a static method `upcast_v1_v2(state)`, which changes the fields of an older state in place.
"""

from collections.abc import Iterable
from typing import Any, cast
from uuid import UUID

import msgspec
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import (
    Mapper,
    MapperDeserialisationError,
    StoredEvent,
    Transcoder,
)
from eventsourcing.utils import get_topic, register_topic

from application.ledger.event_macs import StateMacs, event_macs, snapshot_macs
from application.ledger.keys import LedgerKeys
from application.ledger.snapshots import StateSnapshot
from application.ledger.streams import ALL_KINDS

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()

# Put before a stored state so that it decodes in one step; the real id and version come after.
_HEADER = b'{"originator_id":"00000000000000000000000000000000","originator_version":1,'
# No text within a state can look like this: its quotes would be escaped.
_VERSION_MARK = b'"class_version":'


class JsonTranscoder(Transcoder):
    """For what the library encodes by itself; EventMapper does not use it."""

    def encode(self, obj: Any) -> bytes:
        return _encoder.encode(obj)

    def decode(self, data: bytes) -> Any:
        return _decoder.decode(data)


class EventCodec:
    """Stored states of the given event types. Each is registered under its TOPIC."""

    def __init__(self, event_types: Iterable[type[Any]]) -> None:
        event_types = tuple(event_types)
        self._types: dict[str, type[Any]] = {each.TOPIC: each for each in event_types}
        assert len(self._types) == len(event_types), "names are unique"
        # Kept here because `get_topic` takes a lock at each call.
        self._names = {each: (each.TOPIC, _class_version(each)) for each in event_types}
        # A state of the present version is decoded in one step.
        self._decoders = {
            each.TOPIC: (msgspec.json.Decoder(each).decode, *mark_of_version(_class_version(each)))
            for each in event_types
        }
        for each in event_types:
            register_topic(each.TOPIC, each)

    def name(self, event_type: type[Any]) -> tuple[str, int]:
        """Topic and class version."""
        known = self._names.get(event_type)
        return known or (get_topic(event_type), _class_version(event_type))

    def decode(
        self, *, topic: str, originator_id: UUID | str, originator_version: int, state: bytes
    ) -> Any:
        """The event of one stored row, upcast to its class's present version.

        Raises MapperDeserialisationError, naming stream and version.
        """
        try:
            decode, mark, stands_in_it = self._decoders[topic]
            if (mark in state) is stands_in_it and state[:1] == b"{":
                event = decode(_HEADER + state[1:])
            else:
                event = self._upcast(topic, state)
        except (KeyError, ValueError, msgspec.MsgspecError, AttributeError, TypeError) as error:
            raise MapperDeserialisationError(
                f"version {originator_version} of stream {originator_id}, stored as {topic!r},"
                f" cannot be read: {error}"
            ) from error
        fields = vars(event)
        fields["originator_id"] = originator_id
        fields["originator_version"] = originator_version
        return event

    def upcast(self, topic: str, state: bytes) -> dict[str, Any]:
        """The stored fields as the class's present version has them, without the stream's.

        Raises whatever a state that is not ours can make it raise.
        """
        event_type = self._types[topic]
        fields: dict[str, Any] = _decoder.decode(state)
        stored_version = fields.pop("class_version", 1)
        fields.pop("mac", None)
        class_version = _class_version(event_type)
        if stored_version > class_version:
            raise ValueError(
                f"it is of version {stored_version} and this is known up to {class_version};"
                " install the newer version of chatledger"
            )
        for version in range(stored_version, class_version):
            getattr(event_type, f"upcast_v{version}_v{version + 1}")(fields)
        return fields

    def _upcast(self, topic: str, state: bytes) -> Any:
        fields = self.upcast(topic, state) | {"originator_id": _NO_STREAM, "originator_version": 1}
        return msgspec.convert(fields, self._types[topic])


def mark_of_version(class_version: int) -> tuple[bytes, bool]:
    """A mark, and whether the states of this version hold it. The first version is not written
    down; a later one is the last field before the MAC."""
    if class_version == 1:
        return _VERSION_MARK, False
    return b"%s%d," % (_VERSION_MARK, class_version), True


def _class_version(event_type: type[Any]) -> int:
    version: int = getattr(event_type, "class_version", 1)
    return version


_NO_STREAM = UUID(int=0)
CODEC = EventCodec(
    [*(event_type for kind in ALL_KINDS for event_type in kind.event_types), StateSnapshot]
)
decode_event = CODEC.decode


class EventMapper(Mapper[UUID]):
    """Events and snapshots to what is stored, with a MAC in each state, and back.

    Raises EventNotAuthentic for a state that this ledger did not write, and
    MapperDeserialisationError for one that cannot be read; both name stream and version.
    """

    def __init__(self, keys: LedgerKeys, codec: EventCodec = CODEC) -> None:
        super().__init__(JsonTranscoder())
        self._codec = codec
        self._event_macs = event_macs(keys)
        self._snapshot_macs = snapshot_macs(keys)

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> StoredEvent:
        state = dict(vars(domain_event))
        originator_id = state.pop("originator_id")
        originator_version = state.pop("originator_version")
        topic, class_version = self._codec.name(type(domain_event))
        if class_version > 1:
            state["class_version"] = class_version
        body = self._macs(topic).add(
            originator_id.bytes, originator_version, topic, _encoder.encode(state)
        )
        return StoredEvent(originator_id, originator_version, topic, body)

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[UUID]:
        originator_id = cast("UUID", stored_event.originator_id)
        originator_version, topic = stored_event.originator_version, stored_event.topic
        state = stored_event.state
        self._macs(topic).check(originator_id, originator_version, topic, state)
        event: DomainEventProtocol[UUID] = self._codec.decode(
            topic=topic,
            originator_id=originator_id,
            originator_version=originator_version,
            state=state,
        )
        return event

    def _macs(self, topic: str) -> StateMacs:
        return self._snapshot_macs if topic == StateSnapshot.TOPIC else self._event_macs
