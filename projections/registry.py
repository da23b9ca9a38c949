"""All projections. No table belongs to two of them, so each can be rebuilt by itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from domain.events import Event
from projections import (
    balances,
    conversations,
    holds,
    journal,
    receipts,
    transactions,
    usage,
    users,
)
from projections.row_changes import Handler, Handlers, RowChange


@dataclass(frozen=True, kw_only=True, eq=False)
class Projection:
    """handlers: pure functions from an event and its position to the changes of `tables`; events
    that have none change nothing."""

    name: str
    tables: tuple[str, ...]
    handlers: Handlers


# The handlers of each type of event, each with the position that its rows hold already.
HandlersByType = Mapping[type[Event], Sequence[tuple[Handler, int]]]


def handlers_by_type(after: Mapping[Projection, int]) -> HandlersByType:
    """after: the position that each projection's rows hold already."""
    handlers: dict[type[Event], list[tuple[Handler, int]]] = {}
    for projection, position in after.items():
        for event_type, handler in projection.handlers.items():
            handlers.setdefault(event_type, []).append((handler, position))
    return handlers


def changes_of(event: Event, position: int, handlers: HandlersByType) -> Iterator[RowChange]:
    """What the event changes in those tables that do not hold it yet."""
    for handler, held_up_to in handlers.get(type(event), ()):
        if position > held_up_to:
            yield from handler(event, position)


PROJECTIONS: tuple[Projection, ...] = (
    Projection(name="balances", tables=(balances.TABLE,), handlers=balances.HANDLERS),
    Projection(name="transactions", tables=(transactions.TABLE,), handlers=transactions.HANDLERS),
    Projection(name="journal", tables=(journal.TABLE,), handlers=journal.HANDLERS),
    Projection(name="holds", tables=(holds.HOLDS, holds.GRANTS), handlers=holds.HANDLERS),
    Projection(
        name="conversations",
        tables=(conversations.CONVERSATIONS, conversations.MESSAGES),
        handlers=conversations.HANDLERS,
    ),
    Projection(name="receipts", tables=(receipts.TABLE,), handlers=receipts.HANDLERS),
    Projection(name="usage", tables=(usage.TABLE,), handlers=usage.HANDLERS),
    Projection(name="users", tables=(users.TABLE,), handlers=users.HANDLERS),
)
