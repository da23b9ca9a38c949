"""A message that is sent again under its key is answered and paid for once."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from application.chat.answer import Answer, GenerationFailed
from application.chat.inference_errors import InferenceError
from domain.accounts.events import CreditsDebited, CreditsHeld
from domain.credits import MICRO_PER_CREDIT
from domain.errors import CommandInProgress, IdempotencyKeyReused, InsufficientCredits
from tests.application.world import LIMITS, World, outcome_of
from tests.support.scripted_engine import Pause, script


def count(world: World, event_type: type) -> int:
    return sum(isinstance(event, event_type) for event in world.events())


async def spent_micro(world: World, user_id: UUID) -> int:
    return 10 * MICRO_PER_CREDIT - (await world.balance(user_id)).total_micro


async def test_the_recorded_answer_comes_again(world: World) -> None:
    user_id = await world.a_user()

    first = await world.ask(user_id, key="k")
    again = await world.ask(user_id, key="k")

    assert again == replace(first, replayed=True, position=None)
    assert await spent_micro(world, user_id) == 2_000_000
    assert len(world.scripted.requests) == 1


async def test_a_key_may_have_every_character_that_a_key_may_have(world: World) -> None:
    user_id = await world.a_user()
    key = "key: ~!/\\\"' " + "x" * 243

    first = await world.ask(user_id, key=key)

    assert (await world.ask(user_id, key=key)).message_id == first.message_id


@pytest.mark.parametrize("processes", [1, 2])
async def test_ten_times_at_once_is_one_debit_and_ten_equal_answers(
    world: World, processes: int
) -> None:
    other = world.beside() if processes == 2 else world
    user_id = await world.a_user()

    answers = await asyncio.gather(*(world_.ask(user_id, key="k") for world_ in [world, other] * 5))
    if other is not world:
        await other.close()

    assert len({replace(answer, replayed=False, position=None) for answer in answers}) == 1
    assert sum(not answer.replayed for answer in answers) == 1
    assert count(world, CreditsDebited) == 1
    assert count(world, CreditsHeld) == 1


@pytest.mark.parametrize("processes", [1, 2])
async def test_ten_times_at_once_where_the_first_fails_is_ten_failures_and_no_debit(
    world: World, processes: int
) -> None:
    other = world.beside() if processes == 2 else world
    user_id = await world.a_user()
    pause = Pause()
    world.scripted.script_next(script(pause, InferenceError("broken")))

    asked = [
        asyncio.create_task(outcome_of(here.ask(user_id, key="k"))) for here in [world, other] * 5
    ]
    await pause.reached()
    await asyncio.sleep(0.2)  # the others find the command running
    pause.go_on()
    outcomes = await asyncio.gather(*asked)
    if other is not world:
        await other.close()

    assert {type(outcome) for outcome in outcomes} <= {
        InferenceError,
        GenerationFailed,
        CommandInProgress,
    }
    assert sum(type(outcome) is InferenceError for outcome in outcomes) == 1
    assert await spent_micro(world, user_id) == 0


async def test_a_failed_message_may_be_tried_again_under_its_key(world: World) -> None:
    user_id = await world.a_user()
    world.scripted.script_next(script(InferenceError("broken")))
    assert isinstance(await outcome_of(world.ask(user_id, key="k")), InferenceError)

    answer = await world.ask(user_id, key="k")

    assert not answer.replayed
    assert (await world.ask(user_id, key="k")).message_id == answer.message_id
    assert await spent_micro(world, user_id) == 2_000_000


async def test_a_message_refused_for_lack_of_credits_leaves_its_key_free(world: World) -> None:
    user_id = await world.a_user()
    for _ in range(5):
        await world.ask(user_id)
    refused = await outcome_of(world.ask(user_id, key="k"))
    assert isinstance(refused, InsufficientCredits)

    await world.accounts.purchase(
        user_id=user_id,
        amount_micro=2_000_000,
        bonus_micro=0,
        package_id=None,
        development=True,
        key=None,
    )

    assert not (await world.ask(user_id, key="k")).replayed


@pytest.mark.parametrize(
    "changes", [{"text": "Something else"}, {"max_tokens": 5}, {"seed": 1}, {"temperature": 0.5}]
)
async def test_another_message_under_the_same_key_is_refused(
    world: World, changes: dict[str, object]
) -> None:
    user_id = await world.a_user()
    await world.ask(user_id, "Hello", key="k")

    asked: dict[str, Any] = {"text": "Hello", "key": "k"} | changes
    with pytest.raises(IdempotencyKeyReused):
        await world.ask(user_id, **asked)

    assert await spent_micro(world, user_id) == 2_000_000


async def test_another_message_under_the_key_of_a_running_one_is_refused_at_once(
    world: World,
) -> None:
    user_id = await world.a_user()
    pause = Pause()
    world.scripted.script_next(script(pause, "Forty two."))
    running = asyncio.create_task(world.ask(user_id, "Hello", key="k"))
    await pause.reached()

    with pytest.raises(IdempotencyKeyReused):
        await world.ask(user_id, "Goodbye", key="k")

    pause.go_on()
    await running


async def test_who_waits_for_a_running_answer_does_not_wait_for_ever(world: World) -> None:
    patient = world.beside(
        limits=replace(
            LIMITS,
            generation_timeout=timedelta(seconds=0.1),
            settle_retry=timedelta(seconds=0.1),
            hold_ttl=timedelta(seconds=0.3),
        )
    )
    user_id = await world.a_user()
    pause = Pause()
    world.scripted.script_next(script(pause, "Forty two."))
    running = asyncio.create_task(world.ask(user_id, key="k"))
    await pause.reached()

    with pytest.raises(CommandInProgress):
        await patient.ask(user_id, key="k")

    await patient.close()
    pause.go_on()
    assert isinstance(await running, Answer)


async def test_the_answer_of_a_message_whose_client_went_away_waits_under_its_key(
    world: World,
) -> None:
    user_id = await world.a_user()
    pause = Pause()
    world.scripted.script_next(script("Forty ", pause, "two."))
    run = await world.send(user_id, key="k")
    await pause.reached()
    run.cancel()
    await run.ended()

    again = await world.ask(user_id, key="k")

    assert (again.response, again.finish_reason, again.replayed) == ("Forty", "cancelled", True)
    assert await spent_micro(world, user_id) == 2_000_000
