"""The balance of every account, as its last money event says."""

from domain.accounts.events import (
    MONEY_EVENTS,
    AccountFrozen,
    AccountOpened,
    AccountUnfrozen,
    MoneyEvent,
)
from projections.row_changes import Handlers, RowChanges, Update, Upsert, Value, on

TABLE = "balances"


def _opened(event: AccountOpened, position: int) -> RowChanges:
    values: dict[str, Value] = {
        "account_id": event.originator_id,
        "paid_micro": 0,
        "promotional_micro": 0,
        "held_micro": 0,
        "frozen": False,
        "as_of": event.timestamp,
        "position": position,
    }
    return (Upsert(TABLE, {"user_id": event.user_id}, values),)


def _moved(event: MoneyEvent, position: int) -> RowChanges:
    balance = event.balance
    values: dict[str, Value] = {
        "paid_micro": balance.paid_micro,
        "promotional_micro": balance.promotional_micro,
        "held_micro": balance.held_micro,
        "as_of": event.timestamp,
        "position": position,
    }
    return (Update(TABLE, {"user_id": event.user_id}, values),)


def _frozen(event: AccountFrozen, position: int) -> RowChanges:
    values: dict[str, Value] = {"frozen": True, "as_of": event.timestamp, "position": position}
    return (Update(TABLE, {"user_id": event.user_id}, values),)


def _unfrozen(event: AccountUnfrozen, position: int) -> RowChanges:
    values: dict[str, Value] = {"frozen": False, "as_of": event.timestamp, "position": position}
    return (Update(TABLE, {"user_id": event.user_id}, values),)


HANDLERS: Handlers = dict(
    [
        on(AccountOpened, _opened),
        *(on(event_type, _moved) for event_type in MONEY_EVENTS),
        on(AccountFrozen, _frozen),
        on(AccountUnfrozen, _unfrozen),
    ]
)
