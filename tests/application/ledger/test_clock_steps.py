"""A machine's clock is set, forwards or backwards, in the middle of things."""

import pytest

from application.chat.answer import GenerationFailed
from tests.application.world import LIMITS, PASSWORD, PRICE, World
from tests.support.scripted_engine import Pause, script

HOUR_S = 3600


@pytest.mark.parametrize("step_s", [-HOUR_S, LIMITS.hold_ttl.total_seconds() / 2])
async def test_an_answer_is_paid_for_though_the_clock_was_set_meanwhile(
    world: World, step_s: float
) -> None:
    user_id, pause = await world.a_user(), Pause()
    before = await world.balance(user_id)
    world.scripted.script_next(script("Forty ", pause, "two."))
    run = await world.send(user_id)
    await pause.reached()
    world.clock.advance(seconds=step_s)
    assert await world.sweep() == 0, "the hold is not old yet"
    pause.go_on()
    answer = await run.answer()

    assert answer.response == "Forty two."
    assert answer.latency_ms >= 0
    assert answer.available_micro == before.available_micro - PRICE.message_micro


async def test_a_clock_set_far_forwards_ends_holds_and_charges_nothing(world: World) -> None:
    user_id, pause = await world.a_user(), Pause()
    before = await world.balance(user_id)
    world.scripted.script_next(script("Forty ", pause, "two."))
    run = await world.send(user_id)
    await pause.reached()
    world.clock.advance(seconds=HOUR_S)
    assert await world.sweep() == 1
    pause.go_on()
    with pytest.raises(GenerationFailed, match="expired"):
        await run.answer()
    assert await world.balance(user_id) == before

    world.clock.advance(seconds=-HOUR_S)
    await world.ask(user_id)
    assert (await world.balance(user_id)).held_micro == 0


async def test_a_session_outlives_a_clock_set_backwards(world: World) -> None:
    await world.users.register(username="ada", email="ada@example.com", password=PASSWORD)
    signed_in = await world.users.sign_in(login="ada", password=PASSWORD)
    world.clock.advance(seconds=-HOUR_S)

    assert await world.users.principal(user_id=signed_in.user_id, session_id=signed_in.session_id)
    again = await world.users.refresh(session_id=signed_in.session_id, generation=1)
    assert again.generation == 2
