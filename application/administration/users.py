"""What administrators do to other users."""

from dataclasses import dataclass
from uuid import UUID

from application.administration.order import Order, carry_out
from application.ledger.idempotency import Outcome
from application.ledger.ledger import Ledger, Transaction
from application.ledger.streams import USER
from application.ports import Clock
from domain.text import check_reason
from domain.users.commands import ReinstateUser, SuspendUser
from domain.users.decider import decide


@dataclass(frozen=True, kw_only=True)
class UserStanding:
    """reason: of the order that led to it. For a user who is reinstated, it is recorded only here,
    in the result under the order's key, because the event has no field for it."""

    user_id: UUID
    suspended: bool
    reason: str


class UserAdministration:
    """Every method raises NotPermitted, UserIsSuspended (of the administrator), UserNotFound,
    InvalidText, IdempotencyKeyReused, CommandInProgress and LedgerUnavailable."""

    def __init__(self, *, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    async def suspend(self, order: Order, *, user_id: UUID) -> Outcome[UserStanding]:
        """Ends every session of the user, in every process, and lets nobody sign in as them.
        Answers under way are finished and paid for. Administrators cannot suspend themselves
        (NotPermitted)."""
        command = SuspendUser(reason=order.reason, suspended_by=order.administrator_id)
        return await self._set_standing(order, user_id, command)

    async def reinstate(self, order: Order, *, user_id: UUID) -> Outcome[UserStanding]:
        """Lets the user sign in again; sessions from before stay ended."""
        command = ReinstateUser(reinstated_by=order.administrator_id)
        return await self._set_standing(order, user_id, command)

    async def _set_standing(
        self, order: Order, user_id: UUID, command: SuspendUser | ReinstateUser
    ) -> Outcome[UserStanding]:
        suspends = isinstance(command, SuspendUser)

        def work(transaction: Transaction) -> UserStanding:
            reason = check_reason(order.reason)
            user = transaction.load(USER, user_id)
            transaction.add(USER, *decide(command, user, self._clock.now()))
            return UserStanding(user_id=user_id, suspended=suspends, reason=reason)

        return await carry_out(
            self._ledger,
            self._clock,
            order,
            work,
            result_type=UserStanding,
            command="users.suspend" if suspends else "users.reinstate",
            user_id=user_id,
        )
