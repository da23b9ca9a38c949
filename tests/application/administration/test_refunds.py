"""Administrators give back what an answer cost: once, and never more than that."""

import asyncio
from uuid import UUID

import pytest

from application.administration.accounts import Correction
from application.ledger.idempotency import Outcome
from domain.accounts.events import CreditsDebited, DebitRefunded
from domain.claims.uniqueness import ValueClaimed
from domain.credits import MICRO_PER_CREDIT
from domain.errors import (
    AlreadyRefunded,
    IdempotencyKeyReused,
    InvalidAmount,
    InvalidText,
    MessageNotFound,
    NotPermitted,
    UserIsSuspended,
)
from domain.identifiers import refund_claim_id
from domain.pricing.price import per_message
from domain.users.events import UserRole
from tests.application.world import World, an_order, outcome_of, settled, welcome_balance
from tests.support.scripted_engine import Pause, script

COST_MICRO = 2 * MICRO_PER_CREDIT


async def refund(
    world: World,
    administrator_id: UUID,
    user_id: UUID,
    message_id: UUID,
    amount_micro: int | None = None,
    *,
    key: str = "k",
    reason: str = "a wrong answer",
) -> Outcome[Correction]:
    order = an_order(administrator_id, key, reason=reason)
    return await world.account_administration.refund(
        order, user_id=user_id, message_id=message_id, amount_micro=amount_micro
    )


async def paid_message(world: World, user_id: UUID) -> UUID:
    return (await world.ask(user_id)).message_id


def refunds(world: World) -> list[DebitRefunded]:
    return [event for event in world.events() if isinstance(event, DebitRefunded)]


async def test_a_refund_gives_back_what_the_message_cost_and_says_who_and_why(
    world: World,
) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()
    message_id = await paid_message(world, user_id)
    assert await world.balance(user_id) == welcome_balance(8)

    outcome = await refund(world, admin, user_id, message_id)

    assert await world.balance(user_id) == welcome_balance(10)
    (event,) = refunds(world)
    (debit,) = (event for event in world.events() if isinstance(event, CreditsDebited))
    assert (event.message_id, event.shares) == (message_id, debit.shares)
    assert (event.reason, event.refunded_by) == ("a wrong answer", admin)
    assert outcome.result == Correction(
        transaction_id=event.refund_id,
        user_id=user_id,
        amount_micro=COST_MICRO,
        available_micro=10 * MICRO_PER_CREDIT,
        held_micro=0,
    )
    assert outcome.position == len(world.events())


async def test_refund_claim_and_key_are_one_commit(world: World) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()
    message_id = await paid_message(world, user_id)
    before = len(world.events())

    await refund(world, admin, user_id, message_id)

    claim, *others = world.events()[before:]
    assert isinstance(claim, ValueClaimed)
    assert (claim.originator_id, claim.kind) == (refund_claim_id(message_id), "refund")
    assert claim.owner_id == user_id
    assert [event.TOPIC for event in others] == [
        "account.debit_refunded",
        "idempotency.command_completed",
    ]


async def test_a_part_can_be_refunded_and_no_rest_after_it(world: World) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()
    message_id = await paid_message(world, user_id)

    await refund(world, admin, user_id, message_id, MICRO_PER_CREDIT // 2)

    assert await world.balance(user_id) == welcome_balance(8, spent_micro=-MICRO_PER_CREDIT // 2)
    with pytest.raises(AlreadyRefunded, match="adjust the account instead"):
        await refund(world, admin, user_id, message_id, MICRO_PER_CREDIT, key="another")


@pytest.mark.parametrize("amount_micro", [COST_MICRO + 1, 0, -1, 2**70])
async def test_more_than_was_charged_or_nothing_is_refused_and_the_message_stays_refundable(
    world: World, amount_micro: int
) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()
    message_id = await paid_message(world, user_id)

    with pytest.raises(InvalidAmount, match="at most what the message cost, 2 credits"):
        await refund(world, admin, user_id, message_id, amount_micro)

    assert refunds(world) == []
    await refund(world, admin, user_id, message_id, COST_MICRO)


async def test_the_same_key_refunds_once_and_answers_the_same(world: World) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()
    message_id = await paid_message(world, user_id)

    first = await refund(world, admin, user_id, message_id)
    again = await refund(world, admin, user_id, message_id)

    assert (again.result, again.replayed, again.position) == (first.result, True, None)
    assert len(refunds(world)) == 1


async def test_another_request_under_the_same_key_is_refused(world: World) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()
    message_id = await paid_message(world, user_id)
    another_message_id = await paid_message(world, user_id)
    await refund(world, admin, user_id, message_id, 1)

    with pytest.raises(IdempotencyKeyReused):
        await refund(world, admin, user_id, message_id, 2)
    with pytest.raises(IdempotencyKeyReused):
        await refund(world, admin, user_id, another_message_id, 1)


async def test_of_many_refunds_at_once_in_two_processes_one_is_made(world: World) -> None:
    other = world.beside()
    user_id = await world.a_user()
    admins = [await world.an_admin(), await world.an_admin()]
    message_id = await paid_message(world, user_id)

    outcomes = await asyncio.gather(
        *(
            outcome_of(refund(here, admin, user_id, message_id, amount, key=f"{amount}"))
            for here in (world, other)
            for admin in admins
            for amount in (1, COST_MICRO)
        )
    )
    await other.close()

    refused = [type(outcome) for outcome in outcomes if isinstance(outcome, Exception)]
    made = [outcome.result for outcome in outcomes if not isinstance(outcome, Exception)]
    (event,) = refunds(world)
    # The one that was made may have come a second time under its own key.
    assert {result.transaction_id for result in made} == {event.refund_id}
    assert set(refused) == {AlreadyRefunded}


async def test_the_same_order_ten_times_at_once_is_one_refund(world: World) -> None:
    other = world.beside()
    user_id, admin = await world.a_user(), await world.an_admin()
    message_id = await paid_message(world, user_id)

    outcomes = await asyncio.gather(
        *(refund(here, admin, user_id, message_id) for here in [world, other] * 5)
    )
    await other.close()

    assert len({outcome.result for outcome in outcomes}) == 1
    assert sum(not outcome.replayed for outcome in outcomes) == 1
    assert len(refunds(world)) == 1


async def test_another_users_message_is_not_refunded(world: World) -> None:
    payer, stranger, admin = await world.a_user(), await world.a_user(), await world.an_admin()
    message_id = await paid_message(world, payer)

    for nobody in (stranger, world.ids.new_id()):
        with pytest.raises(MessageNotFound, match="was not charged"):
            await refund(world, admin, nobody, message_id)
    assert refunds(world) == []


async def test_what_was_not_charged_is_not_refunded(world: World) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()
    world.scripted.script_next(script(RuntimeError("broken")))
    run = await world.send(user_id)
    await settled(run)

    for message_id in (run.started.message_id, run.started.prompt_id, world.ids.new_id()):
        with pytest.raises(MessageNotFound):
            await refund(world, admin, user_id, message_id)


async def test_an_answer_under_way_is_not_refunded(world: World) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()
    pause = Pause()
    world.scripted.script_next(script("Forty ", pause, "two."))
    run = await world.send(user_id)
    await pause.reached()

    with pytest.raises(MessageNotFound):
        await refund(world, admin, user_id, run.started.message_id)

    pause.go_on()
    await settled(run)
    await refund(world, admin, user_id, run.started.message_id)


async def test_a_free_message_has_nothing_to_refund(world: World) -> None:
    free = world.beside(price=per_message(0))
    user_id, admin = await world.a_user(), await world.an_admin()
    message_id = await paid_message(free, user_id)
    await free.close()

    with pytest.raises(InvalidAmount, match="nothing to refund"):
        await refund(world, admin, user_id, message_id)


async def test_who_is_no_administrator_refunds_nothing_and_leaves_nothing_behind(
    world: World,
) -> None:
    user_id, auditor = await world.a_user(), await world.a_user(UserRole.AUDITOR)
    suspended = await world.an_admin()
    await world.suspend(suspended)
    message_id = await paid_message(world, user_id)
    before = world.events()

    for nobody in (user_id, auditor, world.ids.new_id()):
        # Not even whether there is such a message.
        for wanted in (message_id, world.ids.new_id()):
            with pytest.raises(NotPermitted, match="only an administrator"):
                await refund(world, nobody, user_id, wanted)
    with pytest.raises(UserIsSuspended):
        await refund(world, suspended, user_id, message_id)
    assert world.events() == before


@pytest.mark.parametrize("reason", ["", "\u200b", "two\nlines", "x" * 201])
async def test_a_refund_says_why(world: World, reason: str) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()
    message_id = await paid_message(world, user_id)

    with pytest.raises(InvalidText, match="reason"):
        await refund(world, admin, user_id, message_id, reason=reason)
