"""What can be had for nothing has an end: each rule, against who tries to go around it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from application.chat.answer import Answer, GenerationFailed
from application.chat.inference_errors import EngineBusy, InferenceError
from application.chat.quotas import QuotaExhausted, QuotaLimits
from application.chat.run import ChatRun
from domain.credits import MICRO_PER_CREDIT
from domain.errors import ConversationNotFound, InsufficientCredits
from domain.pricing.price import per_message
from infrastructure.inference.shared_answers import SharedAnswers, SharingLimits
from tests.application.world import FREE, World, message, outcome_of, settled, welcome_balance
from tests.support.scripted_engine import Pause, ScriptedEngine, script
from tests.support.servers import DatabaseUrls

FEW = QuotaLimits(free_writes_per_hour=4, free_writes_per_day=100, unpaid_tokens_per_hour=300)
SHARING = SharingLimits(bytes_max=10**6, ttl_s=3600, across_users=False)
# A prompt of this many tokens, as the scripted engine counts them.
LONG = "word " * 98
LONG_TOKENS = 100


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
async def strict(migrated: DatabaseUrls, engine: ScriptedEngine) -> AsyncIterator[World]:
    """Little for free, and repeats are shared as in the service."""
    world = World(
        migrated,
        engine=SharedAnswers(engine, SHARING),
        quota_limits=FEW,
        welcome_micro=20 * MICRO_PER_CREDIT,
    )
    yield world
    await world.close()
    world.check_books()


async def _refused(world: World, user_id: UUID, text: str = "Hi", **changes: Any) -> str:
    """The code of a refusal that holds and writes nothing."""
    before = len(world.events())
    with pytest.raises(QuotaExhausted) as caught:
        await world.chat.send(message(user_id, text, **changes))
    assert caught.value.retry_after_s >= 1
    assert len(world.events()) == before
    return caught.value.code


async def _leave(run: ChatRun) -> None:
    run.cancel()
    assert isinstance(await settled(run), GenerationFailed)


async def test_repeats_that_cost_nothing_come_to_an_end_and_what_is_paid_for_does_not(
    strict: World,
) -> None:
    user_id = await strict.a_user()
    assert (await strict.ask(user_id, "Hi")).cost_micro == 2_000_000
    for _ in range(4):
        assert (await strict.ask(user_id, "Hi")).cost_micro == 0

    assert await _refused(strict, user_id, "Hi") == "free_writes_exhausted"

    assert (await strict.ask(user_id, "Something else")).cost_micro == 2_000_000
    await strict.ask(await strict.a_user(), "Hi")


async def test_repeats_at_once_count_too(strict: World, engine: ScriptedEngine) -> None:
    user_id = await strict.a_user()
    pause = Pause()
    engine.script_next(script("Once ", pause, "only."))

    sent = [await strict.chat.send(message(user_id))]
    await pause.reached()
    sent += [await outcome_of(strict.chat.send(message(user_id))) for _ in range(6)]
    pause.go_on()

    runs = [run for run in sent if isinstance(run, ChatRun)]
    answers = [await settled(run) for run in runs]
    costs = sorted(answer.cost_micro for answer in answers if isinstance(answer, Answer))
    assert costs == [0, 0, 0, 0, 2_000_000]
    assert sum(isinstance(other, QuotaExhausted) for other in sent) == 2


async def test_messages_of_a_model_that_costs_nothing_come_to_an_end(strict: World) -> None:
    world = strict.beside(price=FREE, quota_limits=FEW, engine=ScriptedEngine())
    user_id = await world.a_user()
    for number in range(4):
        await world.ask(user_id, f"Number {number}")
    assert await _refused(world, user_id) == "free_writes_exhausted"
    await world.close()


async def test_a_repeat_that_has_a_price_is_not_free() -> None:
    assert FREE.is_free
    assert not per_message(1).is_free


async def test_renaming_and_deleting_come_to_an_end(strict: World) -> None:
    user_id = await strict.a_user()
    answer = await strict.ask(user_id)
    rename = strict.conversations.rename
    fields = {"conversation_id": answer.conversation_id, "user_id": user_id}
    for number in range(3):
        await rename(**fields, title=f"Title {number}")
    for _ in range(9):
        await rename(**fields, title="Title 2")  # which changes nothing and writes nothing
        with pytest.raises(ConversationNotFound):
            await rename(conversation_id=user_id, user_id=user_id, title="Not mine")
    await strict.conversations.delete(**fields)
    with pytest.raises(QuotaExhausted):
        await strict.conversations.delete(**fields)
    assert (await strict.ask(user_id, "I pay")).cost_micro


@pytest.mark.parametrize("end", ["empty", "failed", "left"])
async def test_messages_that_end_unpaid_come_to_an_end(
    strict: World, engine: ScriptedEngine, end: str
) -> None:
    user_id = await strict.a_user()
    engine.queue = Pause() if end == "left" else None
    for number in range(4):
        engine.script_next(script(InferenceError("no")) if end == "failed" else script(" "))
        run = await strict.send(user_id, f"Number {number}")
        if end == "left":
            await _leave(run)
        else:
            await settled(run)

    assert await _refused(strict, user_id) == "unpaid_messages_exhausted"
    assert await strict.balance(user_id) == welcome_balance(20)
    await strict.conversations.rename(
        conversation_id=run.started.conversation_id, user_id=user_id, title="Still possible"
    )


async def test_leaving_before_the_first_word_counts_what_the_model_has_read(
    strict: World, engine: ScriptedEngine
) -> None:
    user_id = await strict.a_user()
    for number in range(3):
        pause = Pause()
        engine.script_next(script(pause, "Too late."))
        run = await strict.send(user_id, LONG, temperature=number / 10, seed=1)
        await pause.reached()
        await _leave(run)

    assert await _refused(strict, user_id, "Short") == "unpaid_work_exhausted"
    assert await strict.balance(user_id) == welcome_balance(20)


async def test_answers_without_text_count_what_the_model_has_read(
    strict: World, engine: ScriptedEngine
) -> None:
    user_id = await strict.a_user()
    for number in range(3):
        engine.script_next(script(" "))
        await strict.ask(user_id, LONG, seed=number, temperature=1.0)
    assert await _refused(strict, user_id, "Short") == "unpaid_work_exhausted"


async def test_many_opened_at_once_count_before_anybody_leaves(
    strict: World, engine: ScriptedEngine
) -> None:
    user_id = await strict.a_user()
    engine.queue = Pause()
    sent = await asyncio.gather(
        *(
            outcome_of(strict.chat.send(message(user_id, LONG, seed=number, temperature=1.0)))
            for number in range(4)
        )
    )

    runs = [run for run in sent if isinstance(run, ChatRun)]
    assert len(runs) == 300 // LONG_TOKENS
    for run in runs:
        await _leave(run)


async def test_leaving_while_the_message_waits_wastes_no_work(
    strict: World, engine: ScriptedEngine
) -> None:
    user_id = await strict.a_user()
    engine.queue = Pause()
    for number in range(3):
        await _leave(await strict.send(user_id, LONG, seed=number))
    engine.queue = None
    assert (await strict.ask(user_id, LONG)).cost_micro


async def test_what_is_paid_for_is_not_counted_however_long(
    strict: World, engine: ScriptedEngine
) -> None:
    user_id = await strict.a_user()
    for number in range(4):
        pause = Pause()
        engine.script_next(script("Some ", pause, "text."))
        run = await strict.send(user_id, LONG, seed=number, temperature=1.0)
        await pause.reached()
        run.cancel()
        answer = await settled(run)
        assert isinstance(answer, Answer)
        assert (answer.finish_reason, answer.cost_micro) == ("cancelled", 2_000_000)


async def test_what_is_refused_before_anything_is_held_counts_nothing(
    strict: World, engine: ScriptedEngine
) -> None:
    user_id = await strict.a_user()
    engine.full = True
    before = len(strict.events())
    for _ in range(9):
        with pytest.raises(EngineBusy):
            await strict.send(user_id, LONG)
    assert len(strict.events()) == before
    engine.full = False
    for number in range(10):
        await strict.ask(user_id, f"Number {number}")
    for number in range(9):
        with pytest.raises(InsufficientCredits):
            await strict.send(user_id, f"Too poor {number}")


async def test_a_kept_answer_comes_also_while_the_queue_is_full(
    strict: World, engine: ScriptedEngine
) -> None:
    user_id = await strict.a_user()
    await strict.ask(user_id, "Hi")
    engine.full = True
    assert (await strict.ask(user_id, "Hi")).cached


async def test_the_same_message_under_one_key_is_repeated_without_counting(strict: World) -> None:
    user_id = await strict.a_user()
    for _ in range(9):
        answer = await strict.ask(user_id, "Hi", key="k")
    assert (answer.replayed, answer.cost_micro) == (True, 2_000_000)
