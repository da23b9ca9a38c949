"""What administrators do to other people's credit accounts."""

from dataclasses import dataclass
from uuid import UUID

from application.administration.order import Order, carry_out, check_right
from application.ledger.idempotency import Outcome
from application.ledger.ledger import Ledger, Transaction
from application.ledger.streams import ACCOUNT, CLAIM
from application.ports import Clock, IdSource
from domain.accounts.commands import AdjustCredits, FreezeAccount, RefundDebit, UnfreezeAccount
from domain.accounts.decider import decide, decide_refund
from domain.accounts.events import CreditsDebited, DebitRefunded, Direction
from domain.accounts.state import AccountState
from domain.errors import MessageNotFound, UserNotFound
from domain.identifiers import account_id, refund_claim_id
from domain.text import check_reason

# What is charged to a user for a message, and what takes it back.
_CHARGES: tuple[type[CreditsDebited | DebitRefunded], ...] = (CreditsDebited, DebitRefunded)


@dataclass(frozen=True, kw_only=True)
class Correction:
    """What was refunded or adjusted, and the balance after it. A refund of credits that have
    expired meanwhile makes nothing available."""

    transaction_id: UUID
    user_id: UUID
    amount_micro: int
    available_micro: int
    held_micro: int


@dataclass(frozen=True, kw_only=True)
class AccountStanding:
    """reason: of the order that led to it. For an account that is unfrozen, it is recorded only
    here, in the result under the order's key, because the event has no field for it."""

    user_id: UUID
    frozen: bool
    reason: str


class AccountAdministration:
    """Every method raises NotPermitted, UserIsSuspended (of the administrator), UserNotFound,
    InvalidText, IdempotencyKeyReused, CommandInProgress and LedgerUnavailable; a refund raises
    MessageNotFound instead of UserNotFound."""

    def __init__(self, *, ledger: Ledger, clock: Clock, ids: IdSource) -> None:
        self._ledger = ledger
        self._clock = clock
        self._ids = ids

    async def refund(
        self, order: Order, *, user_id: UUID, message_id: UUID, amount_micro: int | None = None
    ) -> Outcome[Correction]:
        """Gives back what the user paid for a message, all of it where no amount is named. The
        debit is looked up in the account's own log, whatever a read model says of it.

        Raises MessageNotFound, AlreadyRefunded, InvalidAmount.
        """
        await check_right(self._ledger, order)
        debit, refunded = await self._debit(user_id, message_id)
        command = RefundDebit(
            refund_id=self._ids.new_id(),
            debit=debit,
            amount_micro=debit.amount_micro if amount_micro is None else amount_micro,
            reason=order.reason,
            refunded_by=order.administrator_id,
        )

        def work(transaction: Transaction) -> Correction:
            claimed = transaction.load(CLAIM, refund_claim_id(message_id))
            account = _load_account(transaction, user_id)
            before = claimed or refunded
            claim, events, after = decide_refund(command, account, before, self._clock.now())
            transaction.add(CLAIM, claim)
            transaction.add_folded(ACCOUNT, events, after)
            return _correction(command.refund_id, command.amount_micro, after)

        return await carry_out(
            self._ledger,
            self._clock,
            order,
            work,
            result_type=Correction,
            command="accounts.refund",
            user_id=user_id,
            message_id=message_id,
            amount_micro=amount_micro,
        )

    async def adjust(
        self, order: Order, *, user_id: UUID, direction: Direction, amount_micro: int
    ) -> Outcome[Correction]:
        """Adds credits, or takes some that are available. Raises InvalidAmount,
        InsufficientCredits."""
        command = AdjustCredits(
            adjustment_id=self._ids.new_id(),
            direction=direction,
            amount_micro=amount_micro,
            reason=order.reason,
            adjusted_by=order.administrator_id,
        )

        def work(transaction: Transaction) -> Correction:
            after = self._decide(transaction, user_id, command)
            return _correction(command.adjustment_id, amount_micro, after)

        return await carry_out(
            self._ledger,
            self._clock,
            order,
            work,
            result_type=Correction,
            command="accounts.adjust",
            user_id=user_id,
            direction=direction,
            amount_micro=amount_micro,
        )

    async def freeze(self, order: Order, *, user_id: UUID) -> Outcome[AccountStanding]:
        """No new message is paid from the account; answers under way are still settled."""
        command = FreezeAccount(reason=order.reason, frozen_by=order.administrator_id)
        return await self._set_standing(order, user_id, command)

    async def unfreeze(self, order: Order, *, user_id: UUID) -> Outcome[AccountStanding]:
        command = UnfreezeAccount(unfrozen_by=order.administrator_id)
        return await self._set_standing(order, user_id, command)

    async def _set_standing(
        self, order: Order, user_id: UUID, command: FreezeAccount | UnfreezeAccount
    ) -> Outcome[AccountStanding]:
        def work(transaction: Transaction) -> AccountStanding:
            reason = check_reason(order.reason)
            after = self._decide(transaction, user_id, command)
            return AccountStanding(user_id=user_id, frozen=after.frozen, reason=reason)

        freezes = isinstance(command, FreezeAccount)
        return await carry_out(
            self._ledger,
            self._clock,
            order,
            work,
            result_type=AccountStanding,
            command="accounts.freeze" if freezes else "accounts.unfreeze",
            user_id=user_id,
        )

    def _decide(
        self,
        transaction: Transaction,
        user_id: UUID,
        command: AdjustCredits | FreezeAccount | UnfreezeAccount,
    ) -> AccountState:
        account = _load_account(transaction, user_id)
        transaction.add(ACCOUNT, *decide(command, account, self._clock.now()))
        return _load_account(transaction, user_id)

    async def _debit(
        self, user_id: UUID, message_id: UUID
    ) -> tuple[CreditsDebited, DebitRefunded | None]:
        """The debit, and its refund where there is one: in old logs, refunds claimed nothing.

        Both are searched for before the unit of work, which must not wait for a long stream. What
        is stored never changes, and against a refund that is made meanwhile there is the claim.
        """

        def matches(event: CreditsDebited | DebitRefunded) -> bool:
            return event.message_id == message_id

        stream_id = account_id(user_id)
        newest = await self._ledger.newest(stream_id, _CHARGES, matches)
        refunded = newest if isinstance(newest, DebitRefunded) else None
        debit = newest
        if refunded is not None:
            debit = await self._ledger.newest(stream_id, (CreditsDebited,), matches)
        if not isinstance(debit, CreditsDebited):
            raise MessageNotFound("this user was not charged for a message of this id")
        return debit, refunded


def _load_account(transaction: Transaction, user_id: UUID) -> AccountState:
    account = transaction.load(ACCOUNT, account_id(user_id))
    if account is None:
        raise UserNotFound("there is no such user")
    return account


def _correction(transaction_id: UUID, amount_micro: int, after: AccountState) -> Correction:
    balance = after.balance
    return Correction(
        transaction_id=transaction_id,
        user_id=after.user_id,
        amount_micro=amount_micro,
        available_micro=balance.available_micro,
        held_micro=balance.held_micro,
    )
