"""Refunds long after the answer: of grants that have expired, behind many later events, and in a
log from before refunds claimed their messages."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest

from application.ledger.event_store import PAGE_EVENTS
from application.ledger.ledger import Transaction
from application.ledger.streams import ACCOUNT
from domain.accounts.commands import (
    AccountCommand,
    FreezeAccount,
    GrantCredits,
    RefundDebit,
    UnfreezeAccount,
)
from domain.accounts.decider import decide, decide_refund
from domain.accounts.events import CreditsDebited, GrantExpired
from domain.credits import MICRO_PER_CREDIT
from domain.errors import AlreadyRefunded, InsufficientCredits, MessageNotFound
from domain.identifiers import account_id
from domain.pricing.price import per_message
from tests.application.administration.test_refunds import (
    COST_MICRO,
    paid_message,
    refund,
    refunds,
)
from tests.application.world import World, welcome_balance


async def tell(world: World, user_id: UUID, *commands: AccountCommand) -> None:
    """In one unit of work."""

    def work(transaction: Transaction) -> None:
        for command in commands:
            account = transaction.load(ACCOUNT, account_id(user_id))
            transaction.add(ACCOUNT, *decide(command, account, world.clock.now()))

    await world.ledger.transact(work)


async def grant(world: World, user_id: UUID, amount_micro: int, expires_at: datetime) -> None:
    command = GrantCredits(
        grant_id=world.ids.new_id(),
        amount_micro=amount_micro,
        expires_at=expires_at,
        reason="a gift",
        granted_by=None,
    )
    await tell(world, user_id, command)


async def freeze_and_release(world: World, user_id: UUID, events: int) -> None:
    """Events that move nothing."""
    freeze = FreezeAccount(reason="a check", frozen_by=user_id)
    release = UnfreezeAccount(unfrozen_by=user_id)
    await tell(world, user_id, *(release if number % 2 else freeze for number in range(events)))


async def test_what_came_from_a_grant_that_has_expired_expires_in_the_same_commit(
    world: World,
) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()
    until = world.clock.now() + timedelta(hours=1)
    # It is taken first: half of the message's price, and the other half is welcome credits.
    await grant(world, user_id, COST_MICRO // 2, until)
    message_id = await paid_message(world, user_id)
    assert await world.balance(user_id) == welcome_balance(9)
    world.clock.advance(hours=2)

    outcome = await refund(world, admin, user_id, message_id)

    (refunded,) = refunds(world)
    (expired,) = (event for event in world.events() if isinstance(event, GrantExpired))
    assert refunded.amount_micro == COST_MICRO
    assert expired.amount_micro == COST_MICRO // 2
    assert expired.originator_version == refunded.originator_version + 1
    assert await world.balance(user_id) == welcome_balance(10)
    assert outcome.result.available_micro == 10 * MICRO_PER_CREDIT
    dear = world.beside(price=per_message(11 * MICRO_PER_CREDIT))
    with pytest.raises(InsufficientCredits):
        await dear.ask(user_id)
    await dear.close()


async def test_a_part_leaves_the_expired_grant_spent_as_long_as_it_can(world: World) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()
    await grant(world, user_id, COST_MICRO // 2, world.clock.now() + timedelta(hours=1))
    message_id = await paid_message(world, user_id)
    world.clock.advance(hours=2)

    await refund(world, admin, user_id, message_id, COST_MICRO // 2)

    assert await world.balance(user_id) == welcome_balance(10)
    assert not any(isinstance(event, GrantExpired) for event in world.events())


@pytest.mark.parametrize("later", [0, PAGE_EVENTS - 1, PAGE_EVENTS, 2 * PAGE_EVENTS + 1])
async def test_a_debit_is_found_behind_however_many_later_events(world: World, later: int) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()
    message_id = await paid_message(world, user_id)
    await freeze_and_release(world, user_id, later)

    await refund(world, admin, user_id, message_id)

    (event,) = refunds(world)
    assert (event.message_id, event.amount_micro) == (message_id, COST_MICRO)
    with pytest.raises(MessageNotFound):
        await refund(world, admin, user_id, world.ids.new_id(), key="another")


async def refund_without_a_claim(
    world: World, admin: UUID, user_id: UUID, amount_micro: int
) -> None:
    """As old logs have it."""
    (debit,) = (event for event in world.events() if isinstance(event, CreditsDebited))
    command = RefundDebit(
        refund_id=world.ids.new_id(),
        debit=debit,
        amount_micro=amount_micro,
        reason="long ago",
        refunded_by=admin,
    )

    def work(transaction: Transaction) -> None:
        account = transaction.load(ACCOUNT, account_id(user_id))
        _, events, after = decide_refund(command, account, None, world.clock.now())
        transaction.add_folded(ACCOUNT, events, after)

    await world.ledger.transact(work)


@pytest.mark.parametrize("later", [0, PAGE_EVENTS])
@pytest.mark.parametrize("amount_micro", [1, COST_MICRO])
async def test_what_an_old_log_refunded_without_a_claim_is_not_refunded_again(
    world: World, amount_micro: int, later: int
) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()
    message_id = await paid_message(world, user_id)
    await refund_without_a_claim(world, admin, user_id, amount_micro)
    await freeze_and_release(world, user_id, later)
    before = world.events()

    for amount in (None, 1):
        with pytest.raises(AlreadyRefunded):
            await refund(world, admin, user_id, message_id, amount)
    assert world.events() == before


async def test_a_debit_that_another_process_has_just_made_is_refunded(world: World) -> None:
    other = world.beside()
    user_id, admin = await world.a_user(), await world.an_admin()
    # The other process knows the account as it was before the debit.
    await other.balance(user_id)
    message_id = await paid_message(world, user_id)

    await refund(other, admin, user_id, message_id)
    await other.close()

    assert await world.balance(user_id) == welcome_balance(10)
