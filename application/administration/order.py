"""How an administrator's command is carried out: by right, once for each key, and with a reason."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from application.ledger.idempotency import Outcome, idempotency_key, once
from application.ledger.ledger import Ledger, Transaction
from application.ledger.streams import USER
from application.ports import Clock
from domain.text import check_reason
from domain.users.decider import check_administrator

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Order:
    """What every command of an administrator says, beside what is to be done.

    administrator_id: who gives it; the event names them. reason: why, on one line of at most
    `domain.text.REASON_CHARACTERS_MAX` characters; the user reads it on receipts and statements.
    key: as the administrator sent it, one for each order. Another administrator's equal key is
    another key.
    """

    administrator_id: UUID
    reason: str
    key: str


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
    command: str,
    **about: object,
) -> Outcome[R]:
    """Runs `work` once for the order's key; the right is checked in the same unit of work, so an
    administrator who is being suspended at that moment writes nothing.

    command, about: what is ordered, in full. The key stands for this and the reason together.
    Raises NotPermitted, UserIsSuspended, InvalidText, IdempotencyKeyReused, CommandInProgress,
    LedgerUnavailable, and what `work` refuses.
    """

    def by_right(transaction: Transaction) -> R:
        _check_right(transaction, order)
        return work(transaction)

    await check_right(ledger, order)
    reason = check_reason(order.reason)
    key = idempotency_key(order.administrator_id, order.key, command, reason=reason, **about)
    return await once(ledger, clock, key, by_right, result_type=result_type)


def _check_right(transaction: Transaction, order: Order) -> None:
    check_administrator(transaction.load(USER, order.administrator_id))
