"""A message, from command to paid answer, and every way in which it can end otherwise."""

import asyncio
import gc
from dataclasses import replace
from datetime import timedelta

import pytest

from application.chat_run import Answer, ChatRun, GenerationFailed
from application.inference import (
    InferenceError,
    ModelState,
    ModelUnavailable,
    PromptTooLong,
    Role,
    Turn,
    UnknownModel,
)
from domain.accounts.events import Balance, CreditsDebited, HoldReleased
from domain.conversations.events import PromptSubmitted, ResponseFailed, ResponseGenerated
from domain.credits import MICRO_PER_CREDIT
from domain.errors import ConversationNotFound, InsufficientCredits, InvalidText
from domain.identifiers import account_id
from tests.application.world import LIMITS, World, drain, message, outcome_of
from tests.support.scripted_engine import MANIFEST_HASH, MODEL, Pause, script


def balance(available: int, held: int = 0) -> Balance:
    """Of welcome credits alone."""
    return Balance(
        paid_micro=0,
        promotional_micro=available * MICRO_PER_CREDIT,
        held_micro=held * MICRO_PER_CREDIT,
    )


async def settled(run: ChatRun) -> Answer | Exception:
    """The answer, or the error; within a bounded time."""
    async with asyncio.timeout(15):
        result = await outcome_of(run.answer())
    assert isinstance(result, Answer | Exception)
    return result


async def test_credits_are_held_then_spent_with_the_answer(world: World) -> None:
    user_id = await world.a_user()
    pause = Pause()
    world.scripted.script_next(script("Forty ", pause, "two."))

    run = await world.send(user_id)
    await pause.reached()
    assert await world.balance(user_id) == balance(8, held=2)
    pause.go_on()
    answer = await run.answer()

    assert await world.balance(user_id) == balance(8)
    assert (answer.response, answer.finish_reason) == ("Forty two.", "stop")
    assert answer.cost_micro == 2 * MICRO_PER_CREDIT
    assert (answer.available_micro, answer.held_micro) == (8 * MICRO_PER_CREDIT, 0)
    assert answer.completion_tokens == 2


async def test_prompt_and_hold_are_one_commit_and_answer_and_debit_another(world: World) -> None:
    user_id = await world.a_user()
    before = len(world.events())

    run = await world.send(user_id)
    answer = await run.answer()

    started = [event.TOPIC for event in world.events()[before : run.position]]
    ended = [event.TOPIC for event in world.events()[run.position : answer.position]]
    assert started == ["account.credits_held", "conversation.started", *started[2:]]
    assert started[2:] == ["conversation.prompt_submitted"]
    assert ended == ["account.credits_debited", "conversation.response_generated"]
    assert answer.position == len(world.events())


async def test_pieces_come_as_they_are_generated(world: World) -> None:
    user_id = await world.a_user()
    pause = Pause()
    world.scripted.script_next(script(" Forty", pause, " two. "))

    run = await world.send(user_id)
    pieces = run.deltas()
    assert await anext(pieces) == " Forty"
    pause.go_on()
    assert [piece async for piece in pieces] == [" two. "]

    assert (await run.answer()).response == "Forty two."


async def test_the_answer_explains_itself_in_the_log(world: World) -> None:
    user_id = await world.a_user()
    answer = await world.ask(user_id, "What is it?", temperature=0.5, seed=9)

    debit, response = world.events()[-2:]
    assert isinstance(debit, CreditsDebited)
    assert isinstance(response, ResponseGenerated)
    assert (response.model, response.manifest_hash) == (MODEL, MANIFEST_HASH)
    assert (response.seed, response.price, response.cost_micro) == (9, debit.price, 2_000_000)
    assert (debit.prompt_tokens, debit.completion_tokens) == (
        answer.prompt_tokens,
        answer.completion_tokens,
    )


async def test_earlier_turns_are_part_of_the_next_prompt(world: World) -> None:
    user_id = await world.a_user()
    world.scripted.script_next(script("Paris."), script("Rome."))
    first = await world.ask(user_id, "The capital of France?")

    second = await world.ask(user_id, "And of Italy?", conversation_id=first.conversation_id)

    assert second.conversation_id == first.conversation_id
    assert world.scripted.prompts[-1] == (
        Turn(role=Role.USER, content="The capital of France?"),
        Turn(role=Role.ASSISTANT, content="Paris."),
        Turn(role=Role.USER, content="And of Italy?"),
    )


async def test_what_got_no_answer_is_not_part_of_the_next_prompt(world: World) -> None:
    user_id = await world.a_user()
    first = await world.ask(user_id, "One")
    world.scripted.script_next(script(InferenceError("broken")))
    await settled(await world.send(user_id, "Two", conversation_id=first.conversation_id))

    await world.ask(user_id, "Three", conversation_id=first.conversation_id)

    assert [turn.content for turn in world.scripted.prompts[-1]] == [
        "One",
        first.response,
        "Three",
    ]


async def test_turns_that_do_not_fit_the_window_are_counted_on_the_answer(world: World) -> None:
    user_id = await world.a_user()
    first = await world.ask(user_id, "word " * 90)

    await world.ask(user_id, "word " * 90, conversation_id=first.conversation_id)

    response = world.events()[-1]
    assert isinstance(response, ResponseGenerated)
    assert response.turns_dropped == 1


@pytest.mark.parametrize("pieces", [(), ("Some ", "words ")])
async def test_a_generation_that_breaks_off_costs_nothing(
    world: World, pieces: tuple[str, ...]
) -> None:
    user_id = await world.a_user()
    world.scripted.script_next(script(*pieces, InferenceError("the model broke off")))

    run = await world.send(user_id)

    assert await drain(run) == "".join(pieces)
    assert isinstance(await settled(run), InferenceError)
    assert await world.balance(user_id) == balance(10)
    released, failed = world.events()[-2:]
    assert isinstance(released, HoldReleased)
    assert isinstance(failed, ResponseFailed)
    assert (released.reason, failed.reason) == ("failed", "failed")


async def test_an_engine_that_breaks_its_promise_costs_nothing(world: World) -> None:
    user_id = await world.a_user()
    world.scripted.script_next(script("Some ", RuntimeError("a bug")))

    error = await settled(await world.send(user_id))

    assert isinstance(error, GenerationFailed)
    assert error.reason == "failed"
    assert await world.balance(user_id) == balance(10)


async def test_an_answer_that_takes_too_long_costs_nothing(world: World) -> None:
    hasty = world.beside(limits=replace(LIMITS, generation_timeout=timedelta(seconds=0.2)))
    user_id = await world.a_user()
    world.scripted.script_next(script("Some ", Pause(), "words."))

    run = await hasty.send(user_id)
    error = await settled(run)
    await hasty.close()

    assert isinstance(error, GenerationFailed)
    assert error.reason == "timeout"
    assert await world.balance(user_id) == balance(10)
    assert world.scripted.running == 0


@pytest.mark.parametrize("pieces", [(), ("",), (" ", "\n")])
async def test_an_empty_answer_costs_nothing(world: World, pieces: tuple[str, ...]) -> None:
    user_id = await world.a_user()
    world.scripted.script_next(script(*pieces))

    error = await settled(await world.send(user_id))

    assert isinstance(error, GenerationFailed)
    assert error.reason == "empty"
    assert await world.balance(user_id) == balance(10)


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
    assert await world.balance(user_id) == balance(10)
    assert world.scripted.running == 0


async def test_a_client_gone_at_once_pays_nothing_and_its_pieces_end(world: World) -> None:
    user_id = await world.a_user()

    run = await world.send(user_id)
    run.cancel()
    async with asyncio.timeout(10):
        assert await drain(run) == ""

    error = await settled(run)
    assert isinstance(error, GenerationFailed)
    assert await world.balance(user_id) == balance(10)


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
    assert await world.balance(user_id) == balance(8)
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
    assert await world.balance(user_id) == balance(8)


async def test_closing_at_once_settles_what_has_just_begun(world: World) -> None:
    user_id = await world.a_user()
    run = await world.send(user_id)

    async with asyncio.timeout(10):
        await world.chat.close()

    assert isinstance(await settled(run), GenerationFailed)
    assert await world.balance(user_id) == balance(10)


@pytest.mark.parametrize("text", ["", "  \n\t ", "\u200b", "a\x00b", "\ud800", "x" * 32_001])
async def test_a_message_that_is_none_moves_nothing(world: World, text: str) -> None:
    user_id = await world.a_user()
    before = world.events()

    with pytest.raises(InvalidText):
        await world.ask(user_id, text)

    assert world.events() == before


@pytest.mark.parametrize("model", ["gpt-9", "GEMMA3-270M", "gemma3-270m "])
async def test_an_unknown_model_moves_nothing(world: World, model: str) -> None:
    user_id = await world.a_user()
    before = world.events()

    with pytest.raises(UnknownModel, match=MODEL):
        await world.ask(user_id, model=model)

    assert world.events() == before


async def test_a_model_that_is_not_ready_moves_nothing(world: World) -> None:
    user_id = await world.a_user()
    before = world.events()
    world.scripted.state = ModelState.FAILED

    with pytest.raises(ModelUnavailable):
        await world.ask(user_id)

    assert world.events() == before


async def test_a_message_longer_than_the_window_moves_nothing(world: World) -> None:
    user_id = await world.a_user()
    before = world.events()

    with pytest.raises(PromptTooLong):
        await world.ask(user_id, "word " * 300)

    assert world.events() == before


async def test_the_conversations_of_others_are_not_there(world: World) -> None:
    owner, stranger = await world.a_user(), await world.a_user()
    answer = await world.ask(owner)
    before = world.events()

    for conversation_id in (
        answer.conversation_id,
        world.ids.new_id(),
        stranger,
        account_id(stranger),
    ):
        with pytest.raises(ConversationNotFound):
            await world.ask(stranger, conversation_id=conversation_id)

    assert world.events() == before


async def test_a_deleted_conversation_takes_no_message_but_gets_its_answer(world: World) -> None:
    user_id = await world.a_user()
    pause = Pause()
    world.scripted.script_next(script("Forty ", pause, "two."))
    run = await world.send(user_id)
    await pause.reached()
    conversation_id = run.started.conversation_id

    await world.conversations.delete(conversation_id=conversation_id, user_id=user_id)
    pause.go_on()

    assert isinstance(await settled(run), Answer)
    with pytest.raises(ConversationNotFound):
        await world.ask(user_id, conversation_id=conversation_id)
    with pytest.raises(ConversationNotFound):
        await world.conversations.rename(
            conversation_id=conversation_id, user_id=user_id, title="Back"
        )


async def test_two_messages_in_one_conversation_at_once_are_both_answered(world: World) -> None:
    user_id = await world.a_user()
    first = await world.ask(user_id, "One")

    answers = await asyncio.gather(
        *(
            world.ask(user_id, text, conversation_id=first.conversation_id)
            for text in ("Two", "Three")
        )
    )

    assert {answer.conversation_id for answer in answers} == {first.conversation_id}
    state = await world.conversation(first.conversation_id)
    assert len(state.answered) == 3
    assert state.open == ()


@pytest.mark.parametrize("processes", [1, 2])
async def test_thirty_messages_at_once_where_five_can_be_paid(world: World, processes: int) -> None:
    other = world.beside() if processes == 2 else world
    user_id = await world.a_user()

    outcomes = await asyncio.gather(
        *(outcome_of(here.ask(user_id)) for here in [world, other] * 15)
    )
    if other is not world:
        await other.close()

    refused = [outcome for outcome in outcomes if isinstance(outcome, InsufficientCredits)]
    answered = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    assert (len(answered), len(refused)) == (5, 25)
    assert await world.balance(user_id) == balance(0)
    assert {error.required_micro for error in refused} == {2_000_000}
    assert sum(isinstance(event, PromptSubmitted) for event in world.events()) == 5


async def test_a_quote_holds_nothing_and_says_the_most(world: World) -> None:
    user_id = await world.a_user()
    before = world.events()

    quote = await world.chat.quote(message(user_id, "How much?", max_tokens=50))

    assert (quote.cost_micro_max, quote.max_tokens) == (2_000_000, 50)
    assert quote.available_micro == 10 * MICRO_PER_CREDIT
    assert world.events() == before


async def test_an_answer_has_at_most_what_was_asked_and_what_the_service_gives(
    world: World,
) -> None:
    user_id = await world.a_user()
    asked = await world.ask(user_id, max_tokens=2)
    world.scripted.script_next(script(*["word "] * 150))
    unbounded = await world.ask(user_id, max_tokens=10**6)

    assert (asked.completion_tokens, asked.finish_reason) == (2, "length")
    assert unbounded.completion_tokens == LIMITS.response_tokens_max
