"""What a user sees of the account: everything that changed its total.

Holds and releases move credits within the account and are no transactions; a debit is one even
where the answer was free.
"""

from uuid import UUID

from domain.accounts.events import (
    CreditsAdjusted,
    CreditsDebited,
    CreditsGranted,
    CreditsPurchased,
    DebitRefunded,
    Direction,
    GrantExpired,
    MoneyEvent,
)
from projections.row_changes import Handlers, Insert, RowChanges, Value, on

TABLE = "transactions"


def _row(
    event: MoneyEvent,
    position: int,
    *,
    transaction_id: UUID,
    kind: str,
    amount_micro: int,
    description: str,
    message_id: UUID | None = None,
) -> RowChanges:
    """amount_micro: below zero when credits went away."""
    values: dict[str, Value] = {
        "position": position,
        "transaction_id": transaction_id,
        "user_id": event.user_id,
        "type": kind,
        "amount_micro": amount_micro,
        "balance_after_micro": event.balance.total_micro,
        "message_id": message_id,
        "description": description,
        "created_at": event.timestamp,
    }
    return (Insert(TABLE, values),)


def _purchased(event: CreditsPurchased, position: int) -> RowChanges:
    return _row(
        event,
        position,
        transaction_id=event.purchase_id,
        kind="purchase",
        amount_micro=event.amount_micro,
        description=_purchase_description(event),
    )


def _granted(event: CreditsGranted, position: int) -> RowChanges:
    return _row(
        event,
        position,
        transaction_id=event.grant_id,
        kind="grant" if event.purchase_id is None else "bonus",
        amount_micro=event.amount_micro,
        description=_grant_description(event.reason),
    )


def _debited(event: CreditsDebited, position: int) -> RowChanges:
    return _row(
        event,
        position,
        transaction_id=event.hold_id,
        kind="debit",
        amount_micro=-event.amount_micro,
        description=f"Answer by {event.model}",
        message_id=event.message_id,
    )


def _refunded(event: DebitRefunded, position: int) -> RowChanges:
    return _row(
        event,
        position,
        transaction_id=event.refund_id,
        kind="refund",
        amount_micro=event.amount_micro,
        description=f"Refund: {event.reason}",
        message_id=event.message_id,
    )


def _adjusted(event: CreditsAdjusted, position: int) -> RowChanges:
    credit = event.direction is Direction.CREDIT
    return _row(
        event,
        position,
        transaction_id=event.adjustment_id,
        kind="adjustment",
        amount_micro=event.amount_micro if credit else -event.amount_micro,
        description=f"Adjustment: {event.reason}",
    )


def _expired(event: GrantExpired, position: int) -> RowChanges:
    return _row(
        event,
        position,
        transaction_id=event.grant_id,
        kind="expiry",
        amount_micro=-event.amount_micro,
        description="Granted credits expired",
    )


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


HANDLERS: Handlers = dict(
    [
        on(CreditsPurchased, _purchased),
        on(CreditsGranted, _granted),
        on(CreditsDebited, _debited),
        on(DebitRefunded, _refunded),
        on(CreditsAdjusted, _adjusted),
        on(GrantExpired, _expired),
    ]
)
