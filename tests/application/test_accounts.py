"""Buying credits, once for each key, and balances of the past."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from application.accounts import PurchaseResult
from application.books.periods import CLOCK_SKEW_MAX, TimeInFuture
from application.ledger.idempotency import Outcome, idempotency_key
from domain.accounts.events import Balance, CreditsPurchased
from domain.credits import BALANCE_MICRO_MAX, MICRO_PER_CREDIT
from domain.errors import IdempotencyKeyReused, InvalidAmount
from tests.application.world import WELCOME_MICRO, World, outcome_of

NOTHING = Balance(paid_micro=0, promotional_micro=0, held_micro=0)


async def purchase(
    world: World, user_id: UUID, amount_micro: int = 5_000_000, key: str | None = None
) -> Outcome[PurchaseResult]:
    return await world.accounts.purchase(
        user_id=user_id,
        amount_micro=amount_micro,
        bonus_micro=1_000_000,
        package_id="starter",
        development=True,
        key=idempotency_key(user_id, key, "billing.add", amount=amount_micro),
    )


def purchases(world: World) -> int:
    return sum(isinstance(event, CreditsPurchased) for event in world.events())


async def test_a_purchase_adds_paid_credits_and_its_bonus(world: World) -> None:
    user_id = await world.a_user()

    outcome = await purchase(world, user_id)

    balance = await world.balance(user_id)
    assert (balance.paid_micro, balance.promotional_micro) == (5_000_000, WELCOME_MICRO + 1_000_000)
    assert outcome.result.available_micro == balance.available_micro
    assert (outcome.replayed, outcome.position) == (False, len(world.events()))


async def test_the_same_key_buys_once_and_answers_the_same(world: World) -> None:
    user_id = await world.a_user()

    first = await purchase(world, user_id, key="k")
    again = await purchase(world, user_id, key="k")

    assert again.result == first.result
    assert (again.replayed, again.position) == (True, None)
    assert purchases(world) == 1


async def test_the_same_key_ten_times_at_once_buys_once(world: World) -> None:
    other = world.beside()
    user_id = await world.a_user()

    outcomes = await asyncio.gather(
        *(purchase(here, user_id, key="k") for here in [world, other] * 5)
    )
    await other.close()

    assert {outcome.result for outcome in outcomes} == {outcomes[0].result}
    assert sum(not outcome.replayed for outcome in outcomes) == 1
    assert purchases(world) == 1


async def test_another_request_under_the_same_key_is_refused(world: World) -> None:
    user_id = await world.a_user()
    await purchase(world, user_id, key="k")

    with pytest.raises(IdempotencyKeyReused):
        await purchase(world, user_id, 6_000_000, key="k")

    assert purchases(world) == 1


async def test_two_users_may_choose_the_same_key(world: World) -> None:
    first, second = await world.a_user(), await world.a_user()

    await purchase(world, first, key="k")
    outcome = await purchase(world, second, key="k")

    assert not outcome.replayed


async def test_a_refused_purchase_leaves_its_key_free(world: World) -> None:
    user_id = await world.a_user()
    too_much = BALANCE_MICRO_MAX - 1_000_000

    refused = await outcome_of(purchase(world, user_id, too_much, key="k"))
    assert isinstance(refused, InvalidAmount)

    outcome = await purchase(world, user_id, 7_000_000, key="k")
    assert not outcome.replayed


async def test_purchases_at_once_are_all_there(world: World) -> None:
    other = world.beside()
    user_id = await world.a_user()

    await asyncio.gather(*(purchase(here, user_id) for here in [world, other] * 8))
    await other.close()

    assert (await world.balance(user_id)).paid_micro == 16 * 5 * MICRO_PER_CREDIT


async def test_a_balance_of_the_past_is_what_it_was(world: World) -> None:
    before = world.clock.now()
    world.clock.advance(hours=1)
    user_id = await world.a_user()
    registered = world.clock.now()
    world.clock.advance(hours=1)
    await purchase(world, user_id)

    async def at(time: datetime) -> Balance:
        balance, said = await world.accounts.balance_at(user_id=user_id, at=time)
        assert said == time
        return balance

    assert await at(before) == NOTHING
    assert (await at(registered)).available_micro == WELCOME_MICRO
    assert (await at(world.clock.now())) == await world.balance(user_id)
    assert await at(datetime.min.replace(tzinfo=UTC)) == NOTHING


async def test_there_is_no_balance_of_a_time_that_has_not_come(world: World) -> None:
    user_id = await world.a_user()
    now = world.clock.now()

    for time in (now + CLOCK_SKEW_MAX + timedelta(seconds=1), datetime.max.replace(tzinfo=UTC)):
        with pytest.raises(TimeInFuture, match="has not come yet"):
            await world.accounts.balance_at(user_id=user_id, at=time)
    balance, said = await world.accounts.balance_at(user_id=user_id, at=now + CLOCK_SKEW_MAX)
    assert balance == await world.balance(user_id)
    assert now <= said <= world.clock.now()
