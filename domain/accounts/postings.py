"""The double entry of every money event.

Only the user's account is an aggregate; the other accounts exist in the journal alone, so no
stream is shared by all users.
"""

from functools import lru_cache
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


# Every posting asks for it.
@lru_cache(maxsize=10_000)
def user_accounts(user_id: UUID) -> tuple[str, str]:
    """The names of what is available and of what is held."""
    return f"user:{user_id}:available", f"user:{user_id}:held"


def postings(event: AccountEvent) -> tuple[Posting, ...]:
    """One or two postings; none for events that move nothing."""
    if not isinstance(event, MoneyEvent):
        return ()
    available, held = user_accounts(event.user_id)
    match event:
        case CreditsPurchased():
            moves = [(ISSUANCE_PAID, available, event.amount_micro)]
        case CreditsGranted():
            moves = [(ISSUANCE_PROMOTIONAL, available, event.amount_micro)]
        case CreditsHeld():
            moves = [(available, held, event.amount_micro)]
        case CreditsDebited():
            moves = [
                (held, REVENUE_USAGE, event.amount_micro),
                (held, available, event.released_micro),
            ]
        case HoldReleased():
            moves = [(held, available, event.amount_micro)]
        case DebitRefunded():
            moves = [(REVENUE_USAGE, available, event.amount_micro)]
        case CreditsAdjusted(direction=Direction.CREDIT):
            moves = [(ADJUSTMENTS, available, event.amount_micro)]
        case CreditsAdjusted():
            moves = [(available, ADJUSTMENTS, event.amount_micro)]
        case GrantExpired():
            moves = [(available, ISSUANCE_PROMOTIONAL, event.amount_micro)]
    return tuple(
        Posting(source=source, destination=destination, amount_micro=amount)
        for source, destination, amount in moves
        if amount
    )
