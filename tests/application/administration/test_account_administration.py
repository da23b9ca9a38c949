"""Administrators adjust accounts, freeze them and release them."""

import asyncio
from uuid import UUID

import pytest

from application.administration.accounts import AccountStanding, Correction
from application.chat.answer import Answer
from application.ledger.idempotency import Outcome
from domain.accounts import events as e
from domain.accounts.events import Direction
from domain.credits import AMOUNT_MICRO_MAX, BALANCE_MICRO_MAX, MICRO_PER_CREDIT
from domain.errors import (
    AccountIsFrozen,
    InsufficientCredits,
    InvalidAmount,
    InvalidText,
    NotPermitted,
    UserIsSuspended,
    UserNotFound,
)
from domain.users.events import UserRole
from tests.application.world import (
    WELCOME_MICRO,
    World,
    an_order,
    outcome_of,
    settled,
    welcome_balance,
)
from tests.support.scripted_engine import Pause, script

IN_FAVOUR, AGAINST = Direction.CREDIT, Direction.DEBIT


async def adjust(
    world: World,
    administrator_id: UUID,
    user_id: UUID,
    direction: Direction,
    amount_micro: int,
    *,
    key: str = "k",
    reason: str = "counted twice",
) -> Outcome[Correction]:
    order = an_order(administrator_id, key, reason=reason)
    return await world.account_administration.adjust(
        order, user_id=user_id, direction=direction, amount_micro=amount_micro
    )


async def freeze(
    world: World, administrator_id: UUID, user_id: UUID, *, key: str = "f", reason: str = "a check"
) -> Outcome[AccountStanding]:
    order = an_order(administrator_id, key, reason=reason)
    return await world.account_administration.freeze(order, user_id=user_id)


async def unfreeze(
    world: World, administrator_id: UUID, user_id: UUID, *, key: str = "u", reason: str = "a slip"
) -> Outcome[AccountStanding]:
    order = an_order(administrator_id, key, reason=reason)
    return await world.account_administration.unfreeze(order, user_id=user_id)


def adjustments(world: World) -> list[e.CreditsAdjusted]:
    return [event for event in world.events() if isinstance(event, e.CreditsAdjusted)]


async def test_an_adjustment_in_a_users_favour_adds_paid_credits(world: World) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()

    outcome = await adjust(world, admin, user_id, IN_FAVOUR, 3_000_000)

    assert await world.balance(user_id) == e.Balance(
        paid_micro=3_000_000, promotional_micro=WELCOME_MICRO, held_micro=0
    )
    (event,) = adjustments(world)
    assert (event.reason, event.adjusted_by) == ("counted twice", admin)
    assert outcome.result == Correction(
        transaction_id=event.adjustment_id,
        user_id=user_id,
        amount_micro=3_000_000,
        available_micro=WELCOME_MICRO + 3_000_000,
        held_micro=0,
    )


async def test_an_adjustment_against_a_user_takes_what_is_available_and_no_more(
    world: World,
) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()
    pause = Pause()
    world.scripted.script_next(script("Forty ", pause, "two."))
    run = await world.send(user_id)
    await pause.reached()

    with pytest.raises(InsufficientCredits):
        await adjust(world, admin, user_id, AGAINST, 8_000_001)
    await adjust(world, admin, user_id, AGAINST, 8_000_000)

    assert await world.balance(user_id) == welcome_balance(0, held=2)
    pause.go_on()
    assert isinstance(await settled(run), Answer)


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("amount_micro", [0, -1, AMOUNT_MICRO_MAX + 1, 2**70])
async def test_an_amount_out_of_bounds_is_refused(
    world: World, direction: Direction, amount_micro: int
) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()

    with pytest.raises(InvalidAmount):
        await adjust(world, admin, user_id, direction, amount_micro)
    assert adjustments(world) == []


async def test_no_account_is_lifted_over_what_it_may_hold(world: World) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()
    room = BALANCE_MICRO_MAX - WELCOME_MICRO

    with pytest.raises(InvalidAmount, match="an account holds at most"):
        await adjust(world, admin, user_id, IN_FAVOUR, room + 1)
    await adjust(world, admin, user_id, IN_FAVOUR, room)


async def test_the_same_key_adjusts_once_even_at_once_in_two_processes(world: World) -> None:
    other = world.beside()
    user_id, admin = await world.a_user(), await world.an_admin()

    outcomes = await asyncio.gather(
        *(adjust(here, admin, user_id, IN_FAVOUR, 5) for here in [world, other] * 4)
    )
    await other.close()

    assert len({outcome.result for outcome in outcomes}) == 1
    assert sum(not outcome.replayed for outcome in outcomes) == 1
    assert len(adjustments(world)) == 1


async def test_a_refused_adjustment_leaves_its_key_free(world: World) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()
    refused = await outcome_of(adjust(world, admin, user_id, AGAINST, WELCOME_MICRO + 1))
    assert isinstance(refused, InsufficientCredits)

    assert not (await adjust(world, admin, user_id, AGAINST, 1)).replayed


async def test_of_adjustments_against_a_user_at_once_no_more_is_taken_than_there_is(
    world: World,
) -> None:
    other = world.beside()
    user_id, admin = await world.a_user(), await world.an_admin()

    outcomes = await asyncio.gather(
        *(
            outcome_of(adjust(here, admin, user_id, AGAINST, 3 * MICRO_PER_CREDIT, key=f"{number}"))
            for number, here in enumerate([world, other] * 3)
        )
    )
    await other.close()

    refused = [type(outcome) for outcome in outcomes if isinstance(outcome, Exception)]
    assert refused == [InsufficientCredits] * 3
    assert await world.balance(user_id) == welcome_balance(1)


async def test_a_frozen_account_pays_for_no_new_message_and_settles_what_is_under_way(
    world: World,
) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()
    pause = Pause()
    world.scripted.script_next(script("Forty ", pause, "two."))
    run = await world.send(user_id)
    await pause.reached()

    outcome = await freeze(world, admin, user_id)

    with pytest.raises(AccountIsFrozen):
        await world.ask(user_id)
    pause.go_on()
    assert isinstance(await settled(run), Answer)
    assert await world.balance(user_id) == welcome_balance(8)
    assert outcome.result == AccountStanding(user_id=user_id, frozen=True, reason="a check")
    (event,) = (event for event in world.events() if isinstance(event, e.AccountFrozen))
    assert (event.user_id, event.reason, event.frozen_by) == (user_id, "a check", admin)


async def test_a_released_account_pays_again(world: World) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()
    await freeze(world, admin, user_id)

    outcome = await unfreeze(world, admin, user_id)

    assert (await world.ask(user_id)).cost_micro == 2 * MICRO_PER_CREDIT
    # The event has no field for the reason, so it stands in the result alone.
    assert outcome.result == AccountStanding(user_id=user_id, frozen=False, reason="a slip")
    (event,) = (event for event in world.events() if isinstance(event, e.AccountUnfrozen))
    assert event.unfrozen_by == admin


async def test_a_freeze_under_the_same_key_is_replayed_and_changes_nothing_later(
    world: World,
) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()
    first = await freeze(world, admin, user_id)
    await unfreeze(world, admin, user_id)

    again = await freeze(world, admin, user_id)

    assert (again.result, again.replayed) == (first.result, True)
    assert (await world.ask(user_id)).cost_micro == 2 * MICRO_PER_CREDIT


async def test_only_an_administrator_who_is_not_suspended_gives_orders(world: World) -> None:
    user_id, auditor = await world.a_user(), await world.a_user(UserRole.AUDITOR)
    suspended = await world.an_admin()
    await adjust(world, suspended, user_id, IN_FAVOUR, 5)
    await world.suspend(suspended)
    before = world.events()

    for nobody, refusal in (
        (user_id, NotPermitted),
        (auditor, NotPermitted),
        (world.ids.new_id(), NotPermitted),
        (suspended, UserIsSuspended),
    ):
        for give_order in (
            # Replaying an earlier result takes the right as well.
            adjust(world, nobody, user_id, IN_FAVOUR, 5),
            freeze(world, nobody, user_id),
            unfreeze(world, nobody, user_id),
        ):
            with pytest.raises(refusal):
                await give_order
    assert world.events() == before


async def test_an_order_given_while_its_administrator_is_being_suspended_is_right_or_refused(
    world: World,
) -> None:
    other = world.beside()
    user_id, admin = await world.a_user(), await world.an_admin()

    outcome, _ = await asyncio.gather(
        outcome_of(adjust(world, admin, user_id, IN_FAVOUR, 5)), other.suspend(admin)
    )
    await other.close()

    topics = [event.TOPIC for event in world.events()]
    if isinstance(outcome, UserIsSuspended):
        assert "account.credits_adjusted" not in topics
    else:
        assert topics.index("account.credits_adjusted") < topics.index("user.suspended")


async def test_an_order_about_nobody_is_refused(world: World) -> None:
    admin, nobody = await world.an_admin(), world.ids.new_id()

    for give_order in (
        adjust(world, admin, nobody, IN_FAVOUR, 5),
        freeze(world, admin, nobody),
        unfreeze(world, admin, nobody),
    ):
        with pytest.raises(UserNotFound, match="no such user"):
            await give_order


@pytest.mark.parametrize("reason", ["", "\u200b", "two\nlines", "x" * 201])
async def test_an_order_says_why(world: World, reason: str) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()

    for give_order in (
        adjust(world, admin, user_id, IN_FAVOUR, 5, reason=reason),
        freeze(world, admin, user_id, reason=reason),
        unfreeze(world, admin, user_id, reason=reason),
    ):
        with pytest.raises(InvalidText, match="reason"):
            await give_order
