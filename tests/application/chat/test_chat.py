"""A message, from command to paid answer."""

from functools import partial

from application.chat.inference import Role, Turn
from application.chat.inference_errors import InferenceError
from domain.accounts.events import CreditsDebited
from domain.conversations.events import ResponseGenerated
from domain.credits import MICRO_PER_CREDIT
from tests.application.world import LIMITS, World, message, settled, welcome_balance
from tests.support.scripted_engine import MANIFEST_HASH, MODEL, Pause, script


async def test_credits_are_held_then_spent_with_the_answer(world: World) -> None:
    user_id = await world.a_user()
    pause = Pause()
    world.scripted.script_next(script("Forty ", pause, "two."))

    run = await world.send(user_id)
    await pause.reached()
    assert await world.balance(user_id) == welcome_balance(8, held=2)
    pause.go_on()
    answer = await run.answer()

    assert await world.balance(user_id) == welcome_balance(8)
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


async def test_everything_in_a_commit_of_a_message_happened_at_one_time(world: World) -> None:
    user_id = await world.a_user()
    before = len(world.events())

    run = await world.send(user_id, key="k")
    answer = await run.answer()

    for commit in (
        world.events()[before : run.position],
        world.events()[run.position : answer.position],
    ):
        assert commit[0].TOPIC in {"idempotency.command_started", "account.credits_debited"}
        assert len({event.timestamp for event in commit}) == 1


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

    ask = partial(world.ask, user_id, "word " * 90, conversation_id=first.conversation_id, key="k")
    answer = await ask()

    response = next(e for e in reversed(world.events()) if isinstance(e, ResponseGenerated))
    assert response.turns_dropped == answer.turns_dropped == 2, "the question with its answer"
    assert (await ask()).turns_dropped == 2, "a replay says the same"
    quote = await world.chat.quote(
        message(user_id, "word " * 90, conversation_id=first.conversation_id)
    )
    assert quote.turns_dropped == 4


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
