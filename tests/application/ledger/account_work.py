"""Handlers that return the balance after them, for tests of commands that follow each other."""

from collections.abc import Callable
from uuid import UUID

from application.ledger.ledger import Transaction
from application.ledger.streams import ACCOUNT
from domain.accounts import commands as c
from domain.accounts.decider import decide
from domain.credits import MICRO_PER_CREDIT
from tests.application.ledger import spending
from tests.application.world import World


def grant(world: World, transaction: Transaction, stream_id: UUID, reason: str = "test") -> int:
    command = c.GrantCredits(
        grant_id=world.ids.new_id(),
        amount_micro=MICRO_PER_CREDIT,
        expires_at=None,
        reason=reason,
        granted_by=None,
    )
    transaction.add(
        ACCOUNT, *decide(command, transaction.load(ACCOUNT, stream_id), world.clock.now())
    )
    return balance(transaction, stream_id)


def spend(world: World, transaction: Transaction, stream_id: UUID, credits_: int) -> int:
    spending.spend(world, transaction, stream_id, credits_)
    return balance(transaction, stream_id)


def balance(transaction: Transaction, stream_id: UUID) -> int:
    state = transaction.load(ACCOUNT, stream_id)
    assert state is not None
    return state.balance.available_micro // MICRO_PER_CREDIT


def write_at_once(world: World, write: Callable[[Transaction], object]) -> None:
    """Past the queue, so that it is stored when this returns."""
    attempt = Transaction(world.application)
    write(attempt)
    world.application.save(*attempt.events)


async def stored_balance(world: World, stream_id: UUID) -> int:
    other = world.beside()
    state = await other.ledger.load(ACCOUNT, stream_id)
    await other.close()
    assert state is not None
    return state.balance.available_micro // MICRO_PER_CREDIT
