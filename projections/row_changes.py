"""What a projection can ask for: changes of rows, as plain data.

A writer may put changes of different rows together, but changes of one row take effect in the
order in which they were made.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec

from domain.events import Event

# A mapping is stored as JSON.
Value = UUID | str | int | bool | date | datetime | Mapping[str, Any] | None
Row = Mapping[str, Value]


class Insert(msgspec.Struct, frozen=True, gc=False):
    """A row that cannot be there yet."""

    table: str
    values: Row


class Upsert(msgspec.Struct, frozen=True, gc=False):
    """The row of `key`, whether or not there was one before."""

    table: str
    key: Row
    values: Row


class Update(msgspec.Struct, frozen=True, gc=False):
    """Nothing happens where no row fits."""

    table: str
    where: Row
    values: Row


class Increment(msgspec.Struct, frozen=True, gc=False):
    """Adds to columns of rows that are there; nothing happens where no row fits."""

    table: str
    where: Row
    by: Mapping[str, int]


class Accumulate(msgspec.Struct, frozen=True, gc=False):
    """Adds to columns of the row of `key`, which starts at zero."""

    table: str
    key: Row
    by: Mapping[str, int]


class Delete(msgspec.Struct, frozen=True, gc=False):
    """Nothing happens where no row fits."""

    table: str
    where: Row


RowChange = Insert | Upsert | Update | Increment | Accumulate | Delete
RowChanges = Iterable[RowChange]
# What each event changes, given the event and its position. A rebuild gives events whose ids are
# texts, so a handler reads fields, hands ids on as they are, and asks for no event's class.
Handlers = Mapping[type[Event], Callable[[Any, int], RowChanges]]
