"""How a session goes on and how it ends."""

import asyncio

import pytest

from domain.errors import RefreshTokenReused, SessionEnded, UserIsSuspended
from domain.sessions.events import SessionRotated
from tests.application.users.test_users import register
from tests.application.world import PASSWORD, REFRESH_GRACE, World


async def test_a_refresh_makes_the_next_generation_and_a_longer_session(world: World) -> None:
    await register(world)
    first = await world.users.sign_in(login="ada", password=PASSWORD)
    world.clock.advance(hours=20)

    second = await world.users.refresh(session_id=first.session_id, generation=1)

    assert (second.session_id, second.generation) == (first.session_id, 2)
    world.clock.advance(hours=20)
    await world.users.principal(user_id=first.user_id, session_id=first.session_id)


async def test_a_refresh_token_that_is_used_again_ends_the_session(world: World) -> None:
    await register(world)
    signed_in = await world.users.sign_in(login="ada", password=PASSWORD)
    await world.users.refresh(session_id=signed_in.session_id, generation=1)
    world.clock.advance(seconds=REFRESH_GRACE.total_seconds())

    with pytest.raises(RefreshTokenReused):
        await world.users.refresh(session_id=signed_in.session_id, generation=1)

    with pytest.raises(SessionEnded):
        await world.users.refresh(session_id=signed_in.session_id, generation=2)
    with pytest.raises(SessionEnded):
        await world.users.principal(user_id=signed_in.user_id, session_id=signed_in.session_id)


async def test_tabs_that_refresh_at_once_in_two_processes_get_the_same_generation(
    world: World,
) -> None:
    other = world.beside()
    await register(world)
    session_id = (await world.users.sign_in(login="ada", password=PASSWORD)).session_id

    outcomes = await asyncio.gather(
        *(
            here.users.refresh(session_id=session_id, generation=1)
            for here in (world, other, world, other)
        )
    )
    await other.close()

    assert [outcome.generation for outcome in outcomes] == [2] * 4
    assert len({outcome.session_expires_at for outcome in outcomes}) == 1
    assert sum(isinstance(event, SessionRotated) for event in world.events()) == 1
    assert (await world.users.refresh(session_id=session_id, generation=2)).generation == 3


async def test_a_thief_who_comes_within_the_grace_is_found_out_at_the_next_refresh(
    world: World,
) -> None:
    await register(world)
    session_id = (await world.users.sign_in(login="ada", password=PASSWORD)).session_id
    for _ in ("owner", "thief"):
        await world.users.refresh(session_id=session_id, generation=1)
    world.clock.advance(minutes=30)
    await world.users.refresh(session_id=session_id, generation=2)
    world.clock.advance(minutes=1)

    with pytest.raises(RefreshTokenReused):
        await world.users.refresh(session_id=session_id, generation=2)
    with pytest.raises(SessionEnded):
        await world.users.refresh(session_id=session_id, generation=3)


async def test_the_grace_is_not_for_a_suspended_user(world: World) -> None:
    user = await register(world)
    session_id = (await world.users.sign_in(login="ada", password=PASSWORD)).session_id
    await world.users.refresh(session_id=session_id, generation=1)
    await world.suspend(user.id)

    with pytest.raises(UserIsSuspended):
        await world.users.refresh(session_id=session_id, generation=1)


async def test_a_session_ends_by_itself(world: World) -> None:
    await register(world)
    signed_in = await world.users.sign_in(login="ada", password=PASSWORD)
    world.clock.advance(days=1)

    with pytest.raises(SessionEnded):
        await world.users.principal(user_id=signed_in.user_id, session_id=signed_in.session_id)
    with pytest.raises(SessionEnded):
        await world.users.refresh(session_id=signed_in.session_id, generation=1)


async def test_signing_out_ends_one_session_and_may_be_repeated(world: World) -> None:
    await register(world)
    one = await world.users.sign_in(login="ada", password=PASSWORD)
    another = await world.users.sign_in(login="ada", password=PASSWORD)

    assert await world.users.sign_out(session_id=one.session_id) is not None
    assert await world.users.sign_out(session_id=one.session_id) is None

    with pytest.raises(SessionEnded):
        await world.users.principal(user_id=one.user_id, session_id=one.session_id)
    await world.users.principal(user_id=one.user_id, session_id=another.session_id)


async def test_a_session_speaks_for_its_own_user_only(world: World) -> None:
    await register(world)
    stranger = await world.a_user()
    signed_in = await world.users.sign_in(login="ada", password=PASSWORD)

    with pytest.raises(SessionEnded):
        await world.users.principal(user_id=stranger, session_id=signed_in.session_id)
