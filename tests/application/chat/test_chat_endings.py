"""Every way in which an answer can end other than well."""

import asyncio
import gc
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from application.chat.answer import Answer, GenerationFailed
from application.chat.inference_errors import GenerationTimedOut, InferenceError
from application.chat.run import ChatRun
from domain.accounts.events import CreditsDebited, HoldReleased
from domain.conversations.events import ResponseFailed
from tests.application.world import (
    LIMITS,
    World,
    drain,
    message,
    settled,
    welcome_balance,
)
from tests.support.scripted_engine import Pause, script


@pytest.mark.parametrize("pieces", [(), ("Some ", "words "), (" ", "\u200b")])
async def test_a_generation_that_breaks_off_before_anything_was_delivered_costs_nothing(
    world: World, pieces: tuple[str, ...]
) -> None:
    """Whoever waits for the whole answer has got nothing of it."""
    user_id = await world.a_user()
    world.scripted.script_next(script(*pieces, InferenceError("the model broke off")))

    run = await world.send(user_id)

    assert isinstance(await settled(run), InferenceError)
    assert await drain(run) == "", "what nobody paid for is not handed on afterwards"
    assert await world.balance(user_id) == welcome_balance(10)
    released, failed = world.events()[-2:]
    assert isinstance(released, HoldReleased)
    assert isinstance(failed, ResponseFailed)
    assert (released.reason, failed.reason) == ("failed", "failed")


async def test_what_a_stream_delivered_before_the_model_broke_off_is_paid_by_its_length(
    world: World,
) -> None:
    user_id = await world.a_user()
    world.scripted.script_next(script("Some ", "words ", InferenceError("the model broke off")))
    ask = partial(world.chat.send, message(user_id, max_tokens=10, key="k"))

    run = await ask()
    assert isinstance(run, ChatRun)
    delivered = await drain(run)
    answer = await settled(run)

    assert isinstance(answer, Answer)
    assert answer.response == delivered.strip() == "Some words"
    assert (answer.finish_reason, answer.completion_tokens) == ("error", 2)
    assert answer.cost_micro == 400_000, "two of the ten tokens that two credits were for"
    assert await world.balance(user_id) == welcome_balance(10, spent_micro=400_000)
    debited = next(e for e in reversed(world.events()) if isinstance(e, CreditsDebited))
    used = debited.price.cost_micro(prompt_tokens=debited.prompt_tokens, completion_tokens=2)
    assert used == debited.amount_micro, "the event's price explains its amount"
    replay = await ask()
    assert isinstance(replay, Answer)
    assert (replay.response, replay.cost_micro) == ("Some words", 400_000)


async def test_an_engine_that_breaks_its_promise_costs_nothing(world: World) -> None:
    user_id = await world.a_user()
    world.scripted.script_next(script("Some ", RuntimeError("a bug")))

    error = await settled(await world.send(user_id))

    assert isinstance(error, GenerationFailed)
    assert error.reason == "failed"
    assert await world.balance(user_id) == welcome_balance(10)


async def test_an_answer_that_takes_too_long_costs_nothing_where_nothing_was_delivered(
    world: World,
) -> None:
    hasty = world.beside(limits=replace(LIMITS, generation_timeout=timedelta(seconds=0.2)))
    user_id = await world.a_user()
    world.scripted.script_next(script("Some ", Pause(), "words."))

    run = await hasty.send(user_id)
    error = await settled(run)
    await hasty.close()

    assert isinstance(error, GenerationFailed)
    assert error.reason == "timeout"
    assert await drain(run) == ""
    assert await world.balance(user_id) == welcome_balance(10)
    assert world.scripted.running == 0


@pytest.mark.parametrize("engines_own", [False, True])
async def test_what_a_stream_delivered_until_its_time_was_over_is_paid(
    world: World, engines_own: bool
) -> None:
    hasty = world.beside(limits=replace(LIMITS, generation_timeout=timedelta(seconds=0.2)))
    user_id = await world.a_user()
    late = GenerationTimedOut(timeout_s=0.1) if engines_own else Pause()
    world.scripted.script_next(script("Some ", "more ", late))

    run = await hasty.send(user_id)
    delivered = await drain(run)
    answer = await settled(run)
    await hasty.close()

    assert isinstance(answer, Answer)
    assert answer.response == delivered.strip() == "Some more"
    assert (answer.finish_reason, answer.cost_micro) == ("timeout", 2_000_000)
    assert await world.balance(user_id) == welcome_balance(8)


@pytest.mark.parametrize("pieces", [(), ("",), (" ", "\n"), ("\u200b", "\u2060")])
@pytest.mark.parametrize("max_tokens", [1, None])
async def test_an_answer_without_text_is_an_answer_and_costs_nothing(
    world: World, pieces: tuple[str, ...], max_tokens: int | None
) -> None:
    user_id = await world.a_user()
    world.scripted.script_next(script(*pieces))
    ask = partial(world.ask, user_id, "Say nothing", max_tokens=max_tokens, key="k")

    answer = await ask()

    assert (answer.response, answer.cost_micro, answer.cached) == ("", 0, False)
    longer = max_tokens is not None and len(pieces) > max_tokens
    assert answer.finish_reason == ("length" if longer else "stop")
    assert await world.balance(user_id) == welcome_balance(10)
    again = await ask()
    assert again == replace(answer, replayed=True, position=again.position)
    later = await world.ask(user_id, "Go on", conversation_id=answer.conversation_id)
    assert later.response
    assert [turn.content for turn in world.scripted.prompts[-1]] == ["Go on"]


async def test_a_client_gone_before_the_first_token_pays_nothing(world: World) -> None:
    user_id = await world.a_user()
    pause = Pause()
    world.scripted.script_next(script(pause, "Too late."))

    run = await world.send(user_id)
    await pause.reached()
    run.cancel()
    error = await settled(run)

    assert isinstance(error, GenerationFailed)
    assert error.reason == "cancelled"
    assert await world.balance(user_id) == welcome_balance(10)
    assert world.scripted.running == 0


async def test_a_client_gone_at_once_pays_nothing_and_its_pieces_end(world: World) -> None:
    user_id = await world.a_user()
    world.scripted.script_next(script(Pause(), "Too late."))

    run = await world.send(user_id)
    run.cancel()
    async with asyncio.timeout(10):
        assert await drain(run) == ""

    error = await settled(run)
    assert isinstance(error, GenerationFailed)
    assert await world.balance(user_id) == welcome_balance(10)


async def test_a_client_gone_after_the_first_token_pays_for_the_part_it_got(
    world: World,
) -> None:
    user_id = await world.a_user()
    pause = Pause()
    world.scripted.script_next(script("Forty ", pause, "two."))

    run = await world.send(user_id)
    await pause.reached()
    run.cancel()
    answer = await settled(run)

    assert isinstance(answer, Answer)
    assert (answer.response, answer.finish_reason) == ("Forty", "cancelled")
    assert (answer.cost_micro, answer.completion_tokens) == (2_000_000, 1)
    assert await world.balance(user_id) == welcome_balance(8)
    assert (world.scripted.running, world.scripted.stopped_early) == (0, 1)


async def test_going_away_after_the_end_changes_nothing(world: World) -> None:
    user_id = await world.a_user()
    run = await world.send(user_id)
    answer = await run.answer()

    run.cancel()

    assert await run.answer() == answer


async def test_who_waits_for_an_answer_may_go_away_without_stopping_it(world: World) -> None:
    user_id = await world.a_user()
    pause = Pause()
    world.scripted.script_next(script("Forty ", pause, "two."))
    run = await world.send(user_id)
    waiting = asyncio.create_task(run.answer())
    await pause.reached()

    waiting.cancel()
    pause.go_on()

    assert isinstance(await settled(run), Answer)


async def test_a_failure_that_nobody_waits_for_is_no_lost_exception(world: World) -> None:
    user_id = await world.a_user()
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
    world.scripted.script_next(script(InferenceError("broken")))

    run = await world.send(user_id)
    await run.ended()
    del run
    gc.collect()

    assert complaints == []
