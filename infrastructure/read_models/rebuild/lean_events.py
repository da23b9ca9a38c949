"""Events in the form that a rebuild folds millions of.

An event's dataclass is decoded in 5 µs, as a struct with the same fields in 2; a UUID as a key of a
dictionary costs ten times what a text does, and the database is sent texts anyway. So handlers of
projections get structs here that look like the events, with ids that are the texts they are
stored as. Two texts can be one UUID, but not in a log that this service has written; every id is
looked at for that.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from operator import attrgetter
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec

from application.ledger.event_macs import StateMacs, not_authentic
from application.ledger.mapping import CODEC, EventCodec, mark_of_version
from domain.events import Event

Id = Annotated[str, msgspec.Meta(min_length=36, max_length=36)]
# The stream's own are given beside the state.
_STREAM_FIELDS = ("originator_id", "originator_version")
# A row of the log: position, stored name, stream id as text, version, state.
LeanRow = tuple[int, str, str, int, bytes]
# Of an event or a part of it: its ids.
_Ids = Callable[[Any], Iterable[str | None]]


class NotLean(Exception):
    """An id is written in another way than this service writes it."""


class LeanReader:
    """Of one kind of event. decode: of a stored state, raises what a foreign state makes it raise.
    ids: all that are in the event, but its stream's."""

    def __init__(self, event_type: type[Event], codec: EventCodec = CODEC) -> None:
        self._codec = codec
        self._topic = event_type.TOPIC
        self._mark, self._stands_in_it = mark_of_version(event_type.class_version)
        self._struct = lean(event_type)
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(self._struct).decode
        self.ids = _ids_of(event_type)

    def decode(self, stream_id: str, state: bytes) -> Any:
        event: Any
        if (self._mark in state) is self._stands_in_it:
            event = self._decode(state)
        else:
            event = msgspec.convert(self._codec.upcast(self._topic, state), self._struct)
        event.originator_id = stream_id
        return event


@dataclass(frozen=True, kw_only=True)
class Taker:
    """held: the position that the projection's rows hold already."""

    handler: Callable[[Any, int], Any]
    held: int


class LeanEvents:
    """takers: by event type, who is told of each event."""

    def __init__(self, takers: Mapping[type[Event], Iterable[Taker]], macs: StateMacs) -> None:
        self._macs = macs
        self._readers = {
            event_type.TOPIC: (
                LeanReader(event_type),
                [(taker.handler, taker.held) for taker in given],
            )
            for event_type, given in takers.items()
        }

    @property
    def topics(self) -> list[str]:
        return sorted(self._readers)

    def changes(self, rows: Iterable[LeanRow]) -> Iterator[Any]:
        """What each handler makes of each event, in order. Raises NotLean at the end,
        EventNotAuthentic, and what a foreign state makes it raise."""
        readers, doubt = self._readers, self._macs.doubt
        seen: list[str | None] = []
        for position, topic, stream_id, version, state in rows:
            reader, takers = readers[topic]
            doubted = doubt(bytes.fromhex(stream_id.replace("-", "")), version, topic, state)
            if doubted is not None:
                raise not_authentic(stream_id, version, topic, doubted, position)
            event = reader.decode(stream_id, state)
            seen.extend(reader.ids(event))
            for handler, held in takers:
                if position > held:
                    yield handler(event, position)
        texts = "".join(filter(None, seen))
        if texts != texts.lower():
            raise NotLean


@cache
def lean(kind: type[Any]) -> type[msgspec.Struct]:
    """A struct with the fields, properties and checks of a dataclass of events."""
    hints = get_type_hints(kind, include_extras=True)
    own = [field.name for field in fields(kind) if field.name not in _STREAM_FIELDS]
    defined: list[Any] = [(name, _lean_type(hints[name])) for name in own]
    if issubclass(kind, Event):
        defined += [("originator_id", str, ""), ("originator_version", int, 0)]
    # What the library checks of its events is that their ids are no texts.
    own_bases = [base for base in reversed(kind.__mro__) if base.__module__.startswith("domain.")]
    kept = {
        name: value
        for base in own_bases
        for name, value in vars(base).items()
        if isinstance(value, property) or name in ("TOPIC", "__post_init__")
    }
    return msgspec.defstruct(
        f"Lean{kind.__name__}", defined, namespace=kept, kw_only=True, gc=False
    )


def _lean_type(kind: Any) -> Any:
    if kind is UUID:
        return Id
    if is_dataclass(kind):
        return lean(kind)  # type: ignore[arg-type]
    arguments: Any = tuple(_lean_type(each) for each in get_args(kind) if each is not ...)
    if get_origin(kind) is tuple:
        return tuple.__class_getitem__((*arguments, ...))
    if get_origin(kind) in (Union, UnionType):
        return Union.__getitem__(arguments)
    return kind


@cache
def _ids_of(kind: type[Any]) -> _Ids:
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind) if field.name not in _STREAM_FIELDS]
    own = [name for name in names if hints[name] in (UUID, UUID | None)]
    many = [
        (name, _ids_of(get_args(hints[name])[0]))
        for name in names
        if get_origin(hints[name]) is tuple and is_dataclass(get_args(hints[name])[0])
    ]
    flat = _getter(own)
    if not many:
        return flat

    def with_parts(event: Any) -> Iterable[str | None]:
        found = list(flat(event))
        for name, ids in many:
            for part in getattr(event, name):
                found.extend(ids(part))
        return found

    return with_parts


def _getter(names: list[str]) -> _Ids:
    if not names:
        return lambda _event: ()
    if len(names) == 1:
        name = names[0]
        return lambda event: (getattr(event, name),)
    return attrgetter(*names)
