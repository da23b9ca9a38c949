"""The double entry of every money event.

Only the user's account is an aggregate; the other accounts exist in the journal alone, so no
stream is shared by all users.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from uuid import UUID

from domain.accounts.events import (
    AccountEvent,
    CreditsAdjusted,
    CreditsDebited,
    CreditsGranted,
    CreditsHeld,
    CreditsPurchased,
    DebitRefunded,
    Direction,
    GrantExpired,
    HoldReleased,
    MoneyEvent,
)
from domain.records import record

ISSUANCE_PAID = "issuance:paid"
ISSUANCE_PROMOTIONAL = "issuance:promotional"
REVENUE_USAGE = "revenue:usage"
ADJUSTMENTS = "adjustments"


@record
class Posting:
    """amount_micro, above zero, moves from source to destination: the direction is in the names
    and never in a sign."""

    source: str
    destination: str
    amount_micro: int


# Kept, because every posting asks for them.
@lru_cache(maxsize=10_000)
def user_accounts(user_id: UUID) -> tuple[str, str]:
    """The names of what is available and of what is held."""
    return f"user:{user_id}:available", f"user:{user_id}:held"


# Source, destination and amount, which may be zero.
Moves = tuple[tuple[str, str, int], ...]


def _purchased(event: CreditsPurchased) -> Moves:
    available, _ = user_accounts(event.user_id)
    return ((ISSUANCE_PAID, available, event.amount_micro),)


def _granted(event: CreditsGranted) -> Moves:
    available, _ = user_accounts(event.user_id)
    return ((ISSUANCE_PROMOTIONAL, available, event.amount_micro),)


def _held(event: CreditsHeld) -> Moves:
    available, held = user_accounts(event.user_id)
    return ((available, held, event.amount_micro),)


def _debited(event: CreditsDebited) -> Moves:
    available, held = user_accounts(event.user_id)
    return (
        (held, REVENUE_USAGE, event.amount_micro),
        (held, available, event.released_micro),
    )


def _released(event: HoldReleased) -> Moves:
    available, held = user_accounts(event.user_id)
    return ((held, available, event.amount_micro),)


def _refunded(event: DebitRefunded) -> Moves:
    available, _ = user_accounts(event.user_id)
    return ((REVENUE_USAGE, available, event.amount_micro),)


def _adjusted(event: CreditsAdjusted) -> Moves:
    available, _ = user_accounts(event.user_id)
    if event.direction is Direction.CREDIT:
        return ((ADJUSTMENTS, available, event.amount_micro),)
    return ((available, ADJUSTMENTS, event.amount_micro),)


def _expired(event: GrantExpired) -> Moves:
    available, _ = user_accounts(event.user_id)
    return ((available, ISSUANCE_PROMOTIONAL, event.amount_micro),)


# What each event moves.
MOVES: Mapping[type[MoneyEvent], Callable[[Any], Moves]] = {
    CreditsPurchased: _purchased,
    CreditsGranted: _granted,
    CreditsHeld: _held,
    CreditsDebited: _debited,
    HoldReleased: _released,
    DebitRefunded: _refunded,
    CreditsAdjusted: _adjusted,
    GrantExpired: _expired,
}


def postings(event: AccountEvent | MoneyEvent) -> tuple[Posting, ...]:
    """One or two postings; none for events that move nothing."""
    if not isinstance(event, MoneyEvent):
        return ()
    return tuple(
        Posting(source=source, destination=destination, amount_micro=amount)
        for source, destination, amount in MOVES[type(event)](event)
        if amount
    )
