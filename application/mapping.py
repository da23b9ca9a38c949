"""Events to stored events and back.

`eventsourcing`'s Mapper with msgspec in the place of its transcoder: an event comes back with
the exact types it was written with (enums, tuples, UUIDs, nested dataclasses), and a stored
state is plain JSON that any tool can read.
"""

from typing import Any
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

from application.snapshots import StateSnapshot
from application.streams import ALL_KINDS

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()

_TYPES: dict[str, type[Any]] = {
    event_type.TOPIC: event_type for kind in ALL_KINDS for event_type in kind.event_types
} | {StateSnapshot.TOPIC: StateSnapshot}
assert len(_TYPES) == sum(len(kind.event_types) for kind in ALL_KINDS) + 1, "names are unique"

# As `get_topic` has them, which takes a lock for each.
_TOPICS: dict[type[Any], str] = {event_type: topic for topic, event_type in _TYPES.items()}

for _topic, _type in _TYPES.items():
    register_topic(_topic, _type)


class JsonTranscoder(Transcoder):
    """For what the library encodes on its own; EventMapper goes past it."""

    def encode(self, obj: Any) -> bytes:
        return _encoder.encode(obj)

    def decode(self, data: bytes) -> Any:
        return _decoder.decode(data)


class EventMapper(Mapper[UUID]):
    """Raises MapperDeserialisationError, naming stream and version, for a stored event that
    cannot be read; a name that is not registered is one of them."""

    def __init__(self) -> None:
        super().__init__(JsonTranscoder())

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> StoredEvent:
        state = dict(vars(domain_event))
        originator_id = state.pop("originator_id")
        originator_version = state.pop("originator_version")
        event_type = type(domain_event)
        class_version = getattr(event_type, "class_version", 1)
        if class_version > 1:
            state["class_version"] = class_version
        topic = _TOPICS.get(event_type) or get_topic(event_type)
        return StoredEvent(originator_id, originator_version, topic, _encoder.encode(state))

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[UUID]:
        event: DomainEventProtocol[UUID] = decode_event(
            topic=stored_event.topic,
            originator_id=stored_event.originator_id,
            originator_version=stored_event.originator_version,
            state=stored_event.state,
        )
        return event


def decode_event(
    *, topic: str, originator_id: UUID | str, originator_version: int, state: bytes
) -> Any:
    """The event of one stored row, upcast to its class's present version."""
    try:
        event_type = _TYPES[topic]
        fields = _decoder.decode(state)
        class_version = getattr(event_type, "class_version", 1)
        for from_version in range(fields.pop("class_version", 1), class_version):
            getattr(event_type, f"upcast_v{from_version}_v{from_version + 1}")(fields)
        fields["originator_id"] = originator_id
        fields["originator_version"] = originator_version
        return msgspec.convert(fields, event_type)
    except (KeyError, msgspec.MsgspecError, AttributeError, TypeError) as error:
        raise MapperDeserialisationError(
            f"version {originator_version} of stream {originator_id}, stored as {topic!r},"
            f" cannot be read: {error}"
        ) from error
