"""What a projection can ask for: changes of rows, as plain data.

A writer may reorder and merge them, as long as every row comes out as if they had been made one
after the other.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from typing import Any, TypeVar, cast
from uuid import UUID

import msgspec

from domain.events import Event

# A mapping is stored as JSON.
Value = UUID | str | int | bool | date | datetime | Mapping[str, Any] | None
Row = Mapping[str, Value]


class Insert(msgspec.Struct, frozen=True, gc=False):
    """A new row of a table whose rows are never changed. values: belong to whoever is given the
    change, who may alter them."""

    table: str
    values: dict[str, Value]


class Upsert(msgspec.Struct, frozen=True, gc=False):
    """The row of `key`, whether or not there was one before."""

    table: str
    key: Row
    values: Row


class Update(msgspec.Struct, frozen=True, gc=False):
    """Of the row of key `where`; nothing happens where there is none."""

    table: str
    where: Row
    values: Row


class Increment(msgspec.Struct, frozen=True, gc=False):
    """Adds to columns of the row of key `where`; nothing happens where there is none."""

    table: str
    where: Row
    by: Mapping[str, int]


class Accumulate(msgspec.Struct, frozen=True, gc=False):
    """Adds to columns of the row of `key`, which starts at zero."""

    table: str
    key: Row
    by: Mapping[str, int]


class Delete(msgspec.Struct, frozen=True, gc=False):
    """All rows that have these values, in their key or in other columns. An upsert that leaves
    columns out must not change one of those others in a row that is there."""

    table: str
    where: Row


RowChange = Insert | Upsert | Update | Increment | Accumulate | Delete
RowChanges = Iterable[RowChange]
# A pure function: what an event changes, given the event and its position in the log.
Handler = Callable[[Event, int], RowChanges]
Handlers = Mapping[type[Event], Handler]

E = TypeVar("E", bound=Event)


def on(event_type: type[E], handler: Callable[[E, int], RowChanges]) -> tuple[type[Event], Handler]:
    """One entry of a projection's handlers. mypy checks here that the handler takes events of this
    type; it is given no others."""
    return event_type, cast("Handler", handler)
