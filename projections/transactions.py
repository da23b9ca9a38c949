"""What a user sees of the account: everything that changed what the account holds in all.

Holds and releases move credits within the account and are no transactions; a debit is one even
where the answer was free.
"""

from dataclasses import dataclass
from uuid import UUID

from domain.accounts.events import (
    MONEY_EVENTS,
    CreditsAdjusted,
    CreditsDebited,
    CreditsGranted,
    CreditsPurchased,
    DebitRefunded,
    Direction,
    GrantExpired,
    MoneyEvent,
)
from domain.events import Event
from projections.row_changes import Insert, RowChanges

TABLE = "transactions"
EVENTS: tuple[type[Event], ...] = MONEY_EVENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class _Transaction:
    """amount_micro: below zero when credits went away."""

    id: UUID
    type: str
    amount_micro: int
    description: str
    message_id: UUID | None = None


def project(event: Event, position: int) -> RowChanges:
    if not isinstance(event, MoneyEvent):
        return
    transaction = _transaction(event)
    if transaction is None:
        return
    yield Insert(
        TABLE,
        {
            "position": position,
            "transaction_id": transaction.id,
            "user_id": event.user_id,
            "type": transaction.type,
            "amount_micro": transaction.amount_micro,
            "balance_after_micro": event.balance.total_micro,
            "message_id": transaction.message_id,
            "description": transaction.description,
            "created_at": event.timestamp,
        },
    )


def _transaction(event: MoneyEvent) -> _Transaction | None:
    match event:
        case CreditsPurchased():
            return _Transaction(
                id=event.purchase_id,
                type="purchase",
                amount_micro=event.amount_micro,
                description=_purchase_description(event),
            )
        case CreditsGranted():
            return _Transaction(
                id=event.grant_id,
                type="grant" if event.purchase_id is None else "bonus",
                amount_micro=event.amount_micro,
                description=_grant_description(event.reason),
            )
        case CreditsDebited():
            return _Transaction(
                id=event.hold_id,
                type="debit",
                amount_micro=-event.amount_micro,
                description=f"Answer by {event.model}",
                message_id=event.message_id,
            )
        case DebitRefunded():
            return _Transaction(
                id=event.refund_id,
                type="refund",
                amount_micro=event.amount_micro,
                description=f"Refund: {event.reason}",
                message_id=event.message_id,
            )
        case CreditsAdjusted():
            credit = event.direction is Direction.CREDIT
            return _Transaction(
                id=event.adjustment_id,
                type="adjustment",
                amount_micro=event.amount_micro if credit else -event.amount_micro,
                description=f"Adjustment: {event.reason}",
            )
        case GrantExpired():
            return _Transaction(
                id=event.grant_id,
                type="expiry",
                amount_micro=-event.amount_micro,
                description="Granted credits expired",
            )
        case _:
            return None


def _purchase_description(event: CreditsPurchased) -> str:
    if event.package_id is None:
        bought = "Credits"
    else:
        bought = f"Package {event.package_id.replace('_', ' ').replace('-', ' ').title()}"
    return f"{bought} (development, nothing was paid)" if event.development else bought


def _grant_description(reason: str) -> str:
    match reason:
        case "welcome":
            return "Welcome credits"
        case "bonus":
            return "Bonus credits"
        case _:
            return reason
