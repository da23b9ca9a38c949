"""A new password, and what ends with the old one."""

import pytest

from domain.errors import SessionEnded, WrongCredentials
from tests.application.test_users import register
from tests.application.world import PASSWORD, World


async def test_a_new_password_replaces_the_old_one(world: World) -> None:
    user = await register(world)

    await world.users.set_password(user, "another password")

    with pytest.raises(WrongCredentials):
        await world.users.sign_in(login="ada", password=PASSWORD)
    await world.users.sign_in(login="ada", password="another password")


async def test_a_new_password_ends_the_sessions_from_before_it_and_no_others(
    world: World,
) -> None:
    user = await register(world)
    before = await world.users.sign_in(login="ada", password=PASSWORD)
    world.clock.advance(seconds=1)
    await world.users.set_password(user, "another password")
    world.clock.advance(seconds=1)
    after = await world.users.sign_in(login="ada", password="another password")

    with pytest.raises(SessionEnded, match="password was changed"):
        await world.users.principal(user_id=user.id, session_id=before.session_id)
    with pytest.raises(SessionEnded, match="password was changed"):
        await world.users.refresh(session_id=before.session_id, generation=1)
    assert await world.users.principal(user_id=user.id, session_id=after.session_id)
    assert await world.users.refresh(session_id=after.session_id, generation=1)
