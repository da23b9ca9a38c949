"""All projections. Each owns its tables alone, so any of them can be rebuilt by itself."""

from collections.abc import Callable, Iterable
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
from projections.row_changes import RowChange


@dataclass(frozen=True, kw_only=True)
class Projection:
    """project: a pure function from an event and its position to the changes of `tables`. takes:
    the events that change anything; for others it need not be asked."""

    name: str
    takes: tuple[type[Event], ...]
    tables: tuple[str, ...]
    project: Callable[[Event, int], Iterable[RowChange]]


PROJECTIONS: tuple[Projection, ...] = (
    Projection(
        name="balances", takes=balances.EVENTS, tables=(balances.TABLE,), project=balances.project
    ),
    Projection(
        name="transactions",
        takes=transactions.EVENTS,
        tables=(transactions.TABLE,),
        project=transactions.project,
    ),
    Projection(
        name="journal", takes=journal.EVENTS, tables=(journal.TABLE,), project=journal.project
    ),
    Projection(
        name="holds", takes=holds.EVENTS, tables=(holds.HOLDS, holds.GRANTS), project=holds.project
    ),
    Projection(
        name="conversations",
        takes=conversations.EVENTS,
        tables=(conversations.CONVERSATIONS, conversations.MESSAGES),
        project=conversations.project,
    ),
    Projection(
        name="receipts", takes=receipts.EVENTS, tables=(receipts.TABLE,), project=receipts.project
    ),
    Projection(name="usage", takes=usage.EVENTS, tables=(usage.TABLE,), project=usage.project),
    Projection(name="users", takes=users.EVENTS, tables=(users.TABLE,), project=users.project),
)
