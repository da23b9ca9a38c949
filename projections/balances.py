"""The balance of every account, as its last money event says."""

from domain.accounts.events import (
    MONEY_EVENTS,
    AccountFrozen,
    AccountOpened,
    AccountUnfrozen,
    MoneyEvent,
)
from domain.events import Event
from projections.row_changes import RowChanges, Update, Upsert

TABLE = "balances"
EVENTS: tuple[type[Event], ...] = (AccountOpened, *MONEY_EVENTS, AccountFrozen, AccountUnfrozen)


def project(event: Event, position: int) -> RowChanges:
    match event:
        case AccountOpened():
            yield Upsert(
                TABLE,
                {"user_id": event.user_id},
                {
                    "account_id": event.originator_id,
                    "paid_micro": 0,
                    "promotional_micro": 0,
                    "held_micro": 0,
                    "frozen": False,
                    "as_of": event.timestamp,
                    "position": position,
                },
            )
        case MoneyEvent():
            yield Update(
                TABLE,
                {"user_id": event.user_id},
                {
                    "paid_micro": event.balance.paid_micro,
                    "promotional_micro": event.balance.promotional_micro,
                    "held_micro": event.balance.held_micro,
                    "as_of": event.timestamp,
                    "position": position,
                },
            )
        case AccountFrozen() | AccountUnfrozen():
            yield Update(
                TABLE,
                {"user_id": event.user_id},
                {
                    "frozen": isinstance(event, AccountFrozen),
                    "as_of": event.timestamp,
                    "position": position,
                },
            )
