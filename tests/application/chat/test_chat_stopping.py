"""The service stops, or a request is cancelled, at whatever step of a message: no hold is left."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from application.chat.answer import Answer, GenerationFailed
from application.chat.inference import ModelCard, PreparedPrompt, Turn
from application.chat.inference_errors import ModelUnavailable
from application.chat.run import ChatRun
from domain.conversations.events import ResponseFailed, ResponseGenerated
from tests.application.world import World, drain, message, outcome_of, settled, welcome_balance
from tests.support.scripted_engine import MANIFEST_HASH, Pause, ScriptedEngine, script
from tests.support.servers import DatabaseUrls


async def test_closing_settles_what_is_under_way(world: World) -> None:
    user_id = await world.a_user()
    begun, waiting = Pause(), Pause()
    world.scripted.script_next(script("Forty ", begun, "two."), script(waiting, "Never."))
    first = await world.send(user_id)
    second = await world.send(user_id)
    await begun.reached()
    await waiting.reached()

    await world.chat.close()

    assert world.chat.runs_open == 0
    assert isinstance(await settled(first), Answer)
    assert isinstance(await settled(second), GenerationFailed)
    assert await world.balance(user_id) == welcome_balance(8)


async def test_closing_at_once_settles_what_has_just_begun(world: World) -> None:
    user_id = await world.a_user()
    world.scripted.script_next(script(Pause(), "Too late."))
    run = await world.send(user_id)

    async with asyncio.timeout(10):
        await world.chat.close()

    assert isinstance(await settled(run), GenerationFailed)
    assert await world.balance(user_id) == welcome_balance(10)


@pytest.mark.parametrize("steps", range(0, 60, 4))
async def test_a_request_that_is_cancelled_at_any_step_leaves_no_hold(
    world: World, steps: int
) -> None:
    """As a server does with requests that outlast its patience when it stops."""
    user_id = await world.a_user()
    pause = Pause()
    world.scripted.script_next(script(pause, "Too late."))
    sending = asyncio.create_task(world.send(user_id))

    for _ in range(steps):
        await asyncio.sleep(0)
    sending.cancel()
    outcome = (await asyncio.gather(sending, return_exceptions=True))[0]
    if not isinstance(outcome, asyncio.CancelledError):
        assert not isinstance(outcome, BaseException), outcome
        outcome.cancel()
    await world.chat.close()

    assert await world.balance(user_id) == welcome_balance(10)
    assert world.scripted.running == 0


async def a_hold_on_its_way(world: World) -> None:
    """Returns a moment after a message was prepared, when its commit has no answer yet."""
    while not world.scripted.prompts:  # noqa: ASYNC110 - polled
        await asyncio.sleep(0)
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_request_that_is_cancelled_while_its_hold_is_committed_gets_it_back(
    world: World,
) -> None:
    """At once, and not when the service stops or the hold expires; no model works for it."""
    user_id = await world.a_user()
    world.scripted.script_next(script(Pause(), "Too late."))
    sending = asyncio.create_task(world.send(user_id))
    await a_hold_on_its_way(world)

    sending.cancel()
    await asyncio.wait([sending])

    assert sending.cancelled()
    async with asyncio.timeout(10):
        while not isinstance(world.events()[-1], ResponseFailed):  # noqa: ASYNC110 - polled
            await asyncio.sleep(0.02)
    assert await world.balance(user_id) == welcome_balance(10)
    assert world.scripted.requests == []


@pytest.mark.parametrize("steps", range(0, 60, 4))
async def test_closing_at_any_step_of_a_request_leaves_no_hold(world: World, steps: int) -> None:
    """Whether the message is still prepared, or its hold is being committed, or it has a run."""
    user_id = await world.a_user()
    world.scripted.script_next(script(Pause(), "Too late."))
    sending = asyncio.create_task(outcome_of(world.chat.send(message(user_id, key="k"))))

    for _ in range(steps):
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await world.chat.close()

    assert await world.balance(user_id) == welcome_balance(10)
    assert (world.chat.runs_open, world.scripted.running) == (0, 0)
    stored = world.events()
    outcome = await sending
    if isinstance(outcome, ChatRun):
        assert await drain(outcome) == ""
        outcome = await settled(outcome)
    assert isinstance(outcome, ModelUnavailable | GenerationFailed)
    assert world.events() == stored, "nothing is begun after closing"


class RemovedModel(ScriptedEngine):
    """Its model's files are removed: by the test, or as soon as a prompt is prepared."""

    is_removed = False
    is_removed_after_prompt = False

    def card(self, model: str) -> ModelCard | None:
        card = super().card(model)
        if card is None or not self.is_removed:
            return card
        return replace(card, manifest_hash=None, detail="Prepare it first.")

    async def prepare_prompt(
        self, model: str, turns: Sequence[Turn], *, completion_tokens_wanted: int
    ) -> PreparedPrompt:
        prompt = await super().prepare_prompt(
            model, turns, completion_tokens_wanted=completion_tokens_wanted
        )
        self.is_removed = self.is_removed_after_prompt
        return prompt


async def test_a_model_that_is_removed_before_the_hold_is_refused_and_nothing_is_held(
    migrated: DatabaseUrls,
) -> None:
    engine = RemovedModel()
    world = World(migrated, engine=engine)
    user_id = await world.a_user()
    stored = world.events()
    engine.is_removed_after_prompt = True

    with pytest.raises(ModelUnavailable, match="Prepare it first"):
        await world.send(user_id)

    assert world.events() == stored
    await world.close()


async def test_a_model_that_is_removed_while_the_hold_is_committed_leaves_no_hold(
    migrated: DatabaseUrls,
) -> None:
    """A loaded model answers without its files, and the answer cites what it was made of."""
    engine = RemovedModel()
    world = World(migrated, engine=engine)
    user_id = await world.a_user()
    asking = asyncio.create_task(world.ask(user_id))
    await a_hold_on_its_way(world)
    engine.is_removed = True

    await asking

    assert await world.balance(user_id) == welcome_balance(8)
    recorded = next(event for event in world.events() if isinstance(event, ResponseGenerated))
    assert recorded.manifest_hash == MANIFEST_HASH
    await world.close()
    world.check_books()
