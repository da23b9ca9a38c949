"""How an administrator's command is carried out: by right, once for each key, and with a reason."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from application.ledger.idempotency import Outcome, once
from application.ledger.ledger import Ledger, Transaction
from application.ledger.streams import USER
from application.ports import Clock
from domain.claims.idempotency import IdempotencyKey
from domain.users.decider import check_administrator

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Order:
    """What every command of an administrator says, beside what is to be done.

    administrator_id: who gives it; the event names them. reason: why, on one line of at most
    `domain.text.REASON_CHARACTERS_MAX` characters; the user reads it on receipts and statements.
    key: one of the administrator's; its hash covers the command, whom it is about, the amount and
    the reason.
    """

    administrator_id: UUID
    reason: str
    key: IdempotencyKey


async def check_right(ledger: Ledger, order: Order) -> None:
    """Before anything is looked for or replayed. Raises NotPermitted, UserIsSuspended."""
    await ledger.read(lambda transaction: _check_right(transaction, order))


async def carry_out(
    ledger: Ledger,
    clock: Clock,
    order: Order,
    work: Callable[[Transaction], R],
    *,
    result_type: type[R],
) -> Outcome[R]:
    """Runs `work` once for the order's key; the right is checked in the same unit of work, so an
    administrator who is being suspended at that moment writes nothing.

    Raises NotPermitted, UserIsSuspended, IdempotencyKeyReused, CommandInProgress,
    LedgerUnavailable, and what `work` refuses.
    """

    def by_right(transaction: Transaction) -> R:
        _check_right(transaction, order)
        return work(transaction)

    await check_right(ledger, order)
    return await once(ledger, clock, order.key, by_right, result_type=result_type)


def _check_right(transaction: Transaction, order: Order) -> None:
    check_administrator(transaction.load(USER, order.administrator_id))
