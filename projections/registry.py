"""All projections. Each owns its tables alone, so any of them can be rebuilt by itself."""

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
from projections.row_changes import Handlers, RowChanges


@dataclass(frozen=True, kw_only=True, eq=False)
class Projection:
    """handlers: pure functions from an event and its position to the changes of `tables`; events
    that have none change nothing."""

    name: str
    tables: tuple[str, ...]
    handlers: Handlers

    def project(self, event: Event, position: int) -> RowChanges:
        handler = self.handlers.get(type(event))
        return () if handler is None else handler(event, position)


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
