"""What an order's idempotency key stands for, and whose it is."""

import pytest

from domain.errors import IdempotencyKeyReused
from tests.application.administration.test_account_administration import (
    AGAINST,
    IN_FAVOUR,
    adjust,
    adjustments,
    freeze,
    unfreeze,
)
from tests.application.world import World


async def test_another_request_under_the_same_key_is_refused(world: World) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()
    await adjust(world, admin, user_id, IN_FAVOUR, 5)

    for direction, amount_micro in ((IN_FAVOUR, 6), (AGAINST, 5)):
        with pytest.raises(IdempotencyKeyReused):
            await adjust(world, admin, user_id, direction, amount_micro)
    with pytest.raises(IdempotencyKeyReused):
        await adjust(world, admin, await world.a_user(), IN_FAVOUR, 5)
    with pytest.raises(IdempotencyKeyReused):
        await adjust(world, admin, user_id, IN_FAVOUR, 5, reason="another reason")
    for give_order in (freeze, unfreeze):
        with pytest.raises(IdempotencyKeyReused):
            await give_order(world, admin, user_id, key="k", reason="counted twice")
    assert len(adjustments(world)) == 1


async def test_two_administrators_may_send_the_same_key(world: World) -> None:
    user_id, admins = await world.a_user(), [await world.an_admin(), await world.an_admin()]

    for admin in admins:
        assert not (await adjust(world, admin, user_id, IN_FAVOUR, 5)).replayed

    assert [event.adjusted_by for event in adjustments(world)] == admins


async def test_a_key_of_another_kind_of_command_is_refused(world: World) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()
    await world.ask(admin, key="k")

    with pytest.raises(IdempotencyKeyReused):
        await adjust(world, admin, user_id, IN_FAVOUR, 5)
    assert adjustments(world) == []
