"""Command handlers of the credit account, beside those of the chat process."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from application.books.periods import passed
from application.ledger.idempotency import Outcome, once
from application.ledger.ledger import Ledger, Transaction
from application.ledger.streams import ACCOUNT
from application.ports import Clock, IdSource
from domain.accounts.commands import PurchaseCredits
from domain.accounts.decider import decide
from domain.accounts.events import Balance
from domain.accounts.state import AccountState
from domain.claims.idempotency import IdempotencyKey
from domain.identifiers import account_id


@dataclass(frozen=True, kw_only=True)
class PurchaseResult:
    transaction_id: UUID
    credited_micro: int
    bonus_micro: int
    available_micro: int
    held_micro: int


def load_account(transaction: Transaction, user_id: UUID) -> AccountState:
    account = transaction.load(ACCOUNT, account_id(user_id))
    assert account is not None, "every user has an account from registration on"
    return account


class Accounts:
    def __init__(self, *, ledger: Ledger, clock: Clock, ids: IdSource) -> None:
        self._ledger = ledger
        self._clock = clock
        self._ids = ids

    async def balance_at(self, *, user_id: UUID, at: datetime) -> tuple[Balance, datetime]:
        """The balance after the last event before or at that time, folded from the log, and the
        time; zero before the account was opened. Raises TimeInFuture."""
        time = passed(at, self._clock.now())
        account = await self._ledger.load_at(ACCOUNT, account_id(user_id), time)
        if account is None:
            return Balance(paid_micro=0, promotional_micro=0, held_micro=0), time
        return account.balance, time

    async def purchase(
        self,
        *,
        user_id: UUID,
        amount_micro: int,
        bonus_micro: int,
        package_id: str | None,
        development: bool,
        key: IdempotencyKey | None,
    ) -> Outcome[PurchaseResult]:
        """Raises InvalidAmount, IdempotencyKeyReused."""
        command = PurchaseCredits(
            purchase_id=self._ids.new_id(),
            amount_micro=amount_micro,
            bonus_id=self._ids.new_id(),
            bonus_micro=bonus_micro,
            package_id=package_id,
            development=development,
        )

        def work(transaction: Transaction) -> PurchaseResult:
            account = load_account(transaction, user_id)
            transaction.add(ACCOUNT, *decide(command, account, self._clock.now()))
            balance = load_account(transaction, user_id).balance
            return PurchaseResult(
                transaction_id=command.purchase_id,
                credited_micro=amount_micro,
                bonus_micro=bonus_micro,
                available_micro=balance.available_micro,
                held_micro=balance.held_micro,
            )

        return await once(
            self._ledger,
            self._clock,
            key,
            work,
            result_type=PurchaseResult,
        )
