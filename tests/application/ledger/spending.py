"""Small changes of an account, for tests of the unit of work."""

from uuid import UUID

from application.ledger.ledger import Transaction
from application.ledger.streams import ACCOUNT
from domain.accounts import commands as c
from domain.accounts.decider import decide
from domain.accounts.events import Direction
from domain.accounts.state import AccountState
from domain.credits import MICRO_PER_CREDIT
from tests.application.world import World


def grant(world: World, transaction: Transaction, stream_id: UUID, credits_: int = 1) -> None:
    command = c.GrantCredits(
        grant_id=world.ids.new_id(),
        amount_micro=credits_ * MICRO_PER_CREDIT,
        expires_at=None,
        reason="test",
        granted_by=None,
    )
    state = transaction.load(ACCOUNT, stream_id)
    transaction.add(ACCOUNT, *decide(command, state, world.clock.now()))


def spend(world: World, transaction: Transaction, stream_id: UUID, credits_: int) -> None:
    command = c.AdjustCredits(
        adjustment_id=world.ids.new_id(),
        direction=Direction.DEBIT,
        amount_micro=credits_ * MICRO_PER_CREDIT,
        reason="test",
        adjusted_by=world.ids.new_id(),
    )
    state = transaction.load(ACCOUNT, stream_id)
    transaction.add(ACCOUNT, *decide(command, state, world.clock.now()))


async def load(world: World, stream_id: UUID) -> AccountState:
    state = await world.ledger.load(ACCOUNT, stream_id)
    assert state is not None
    return state
