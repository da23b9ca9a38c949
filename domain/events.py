"""What all events share: a stream, a version, a time, and a registered name."""

from datetime import datetime
from typing import Annotated, ClassVar, TypedDict
from uuid import UUID

from eventsourcing.domain import DomainEvent

from domain.records import record


class PersonalMark:
    """Marks a field that tells something about a person. Such fields are to be encrypted, with a
    key for each person, so nothing may query inside stored states."""


PersonalText = Annotated[str, PersonalMark()]


@record
class Event(DomainEvent):
    """A fact. Stored under TOPIC, never under an import path, so that renaming a class leaves
    history readable; `class_version` and `upcast_vN_vM` (eventsourcing's names) carry changes
    of form."""

    TOPIC: ClassVar[str]
    class_version: ClassVar[int] = 1


class Header(TypedDict):
    originator_id: UUID
    originator_version: int
    timestamp: datetime


def check_zone(time: datetime) -> datetime:
    """The time itself. One without a zone could be stored but never compared again."""
    assert time.utcoffset() is not None, "times in events carry their zone"
    return time


def header(stream_id: UUID, version: int, now: datetime) -> Header:
    """The three fields every event starts with; `version` is the event's own."""
    return {
        "originator_id": stream_id,
        "originator_version": version,
        "timestamp": check_zone(now),
    }
