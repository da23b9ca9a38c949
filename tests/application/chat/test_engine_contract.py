"""What the application relies on in every inference engine: the same tests for the real model and
for the engine that tests script."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from application.chat.inference import (
    Completion,
    Delta,
    FinishReason,
    GenerationRequest,
    InferenceEngine,
    ModelState,
    PreparedPrompt,
    Role,
    Sampling,
    Turn,
    WorkMeter,
)
from application.chat.inference_errors import (
    InferenceError,
    ModelUnavailable,
    PromptTooLong,
    UnknownModel,
)
from infrastructure.inference.models.engine import OnnxEngine, OnnxEngineSettings
from tests.support.scripted_engine import MODEL, ScriptedEngine, script

GREEDY = Sampling()
QUESTION = Turn(role=Role.USER, content="What is the capital of France?")


# One loop and one engine for the module: loading the real model takes seconds.
pytestmark = pytest.mark.asyncio(loop_scope="module")


def build_scripted() -> ScriptedEngine:
    engine = ScriptedEngine(context_tokens=700)
    engine.default = script(*(f"word{number} " for number in range(30)))
    return engine


def build_real(prepared_models: Path) -> OnnxEngine:
    settings = OnnxEngineSettings(models_dir=prepared_models, context_tokens_max=700)
    return OnnxEngine(settings)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["scripted", "real"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[InferenceEngine]:
    if request.param == "real":
        built: InferenceEngine = build_real(request.getfixturevalue("prepared_models"))
    else:
        built = build_scripted()
    yield built
    await built.close()


async def prepare(
    engine: InferenceEngine, *turns: Turn, completion_tokens_wanted: int = 12
) -> PreparedPrompt:
    return await engine.prepare_prompt(
        MODEL, turns or (QUESTION,), completion_tokens_wanted=completion_tokens_wanted
    )


async def generate(engine: InferenceEngine, **changes: Any) -> tuple[list[Delta], Completion]:
    fields: dict[str, Any] = {"max_tokens": 12, "sampling": GREEDY} | changes
    if "prompt" not in fields:
        fields["prompt"] = await prepare(engine)
    items = [item async for item in engine.stream(GenerationRequest(**fields))]
    *deltas, completion = items
    assert isinstance(completion, Completion)
    assert all(isinstance(delta, Delta) for delta in deltas)
    return deltas, completion  # type: ignore[return-value]


async def test_deltas_are_the_completions_text_but_for_surrounding_space(
    engine: InferenceEngine,
) -> None:
    deltas, completion = await generate(engine)

    assert "".join(delta.text for delta in deltas).strip() == completion.text
    assert completion.text


async def test_token_counts_grow_and_end_at_the_completions(engine: InferenceEngine) -> None:
    prompt = await prepare(engine)
    deltas, completion = await generate(engine, prompt=prompt)

    counts = [delta.completion_tokens for delta in deltas]
    assert counts == sorted(counts)
    assert 1 <= counts[0] <= counts[-1] <= completion.completion_tokens
    assert completion.prompt_tokens == len(prompt.token_ids)


async def test_an_answer_has_at_most_max_tokens(engine: InferenceEngine) -> None:
    _, completion = await generate(engine, max_tokens=3)

    # What the real model says, and so when it ends by itself, depends on the processor.
    if completion.finish_reason is FinishReason.LENGTH:
        assert completion.completion_tokens == 3
    else:
        assert completion.finish_reason is FinishReason.STOP
        assert completion.completion_tokens <= 3


async def test_an_answer_ends_before_a_stop_string(engine: InferenceEngine) -> None:
    _, whole = await generate(engine)
    stop = whole.text[len(whole.text) // 2 :][:3]

    deltas, completion = await generate(engine, stop=(stop,))

    assert completion.finish_reason is FinishReason.STOP
    assert completion.text == whole.text.partition(stop)[0].strip()
    assert "".join(delta.text for delta in deltas).strip() == completion.text


async def test_greedy_answers_repeat_and_have_no_seed(engine: InferenceEngine) -> None:
    _, first = await generate(engine)
    _, second = await generate(engine)

    assert (first.text, first.seed) == (second.text, None)


async def test_a_sampled_answer_reports_the_seed_it_was_drawn_with(
    engine: InferenceEngine,
) -> None:
    _, drawn = await generate(engine, sampling=Sampling(temperature=1.0))
    _, given = await generate(engine, sampling=Sampling(temperature=1.0, seed=2**63 - 1))

    assert drawn.seed is not None
    assert given.seed == 2**63 - 1


async def test_a_completion_cites_the_manifest_that_the_catalogue_shows(
    engine: InferenceEngine,
) -> None:
    _, completion = await generate(engine, max_tokens=1)

    card = next(card for card in engine.models() if card.name == MODEL)
    assert card.manifest_hash == completion.manifest_hash
    assert card.state is ModelState.READY


async def test_closing_the_iterator_frees_the_engine_for_the_next_answer(
    engine: InferenceEngine,
) -> None:
    prompt = await prepare(engine, completion_tokens_wanted=400)
    request = GenerationRequest(prompt=prompt, max_tokens=400, sampling=GREEDY)
    async with aclosing(engine.stream(request)) as stream:
        async for _ in stream:
            break

    async with asyncio.timeout(20):
        _, completion = await generate(engine, max_tokens=1)
    assert completion.completion_tokens == 1


async def test_cancelling_the_task_that_reads_stops_the_generation(
    engine: InferenceEngine,
) -> None:
    prompt = await prepare(engine, completion_tokens_wanted=400)
    request = GenerationRequest(prompt=prompt, max_tokens=400, sampling=GREEDY)
    first = asyncio.Event()

    async def read() -> None:
        async with aclosing(engine.stream(request)) as stream:
            async for _ in stream:
                first.set()

    reading = asyncio.create_task(read())
    await first.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    async with asyncio.timeout(20):
        _, completion = await generate(engine, max_tokens=1)
    assert completion.completion_tokens == 1


async def test_releasing_memory_says_what_it_gave_back_and_the_next_answer_comes_all_the_same(
    engine: InferenceEngine,
) -> None:
    _, before = await generate(engine)
    released = await engine.release_memory()
    _, after = await generate(engine)

    assert released.rss_fell_bytes == max(0, released.rss_before_bytes - released.rss_after_bytes)
    assert after.text == before.text


async def test_prompt_and_answer_fit_the_window(engine: InferenceEngine) -> None:
    window = next(card for card in engine.models() if card.name == MODEL).context_tokens
    prompt = await prepare(engine)

    assert len(prompt.token_ids) + prompt.max_tokens == window
    assert prompt.turns_dropped == 0


async def test_the_oldest_turns_are_dropped_when_they_do_not_fit(engine: InferenceEngine) -> None:
    earlier = [Turn(role=Role.USER, content="one two three four " * 10) for _ in range(40)]

    prompt = await prepare(engine, *earlier, QUESTION, completion_tokens_wanted=50)

    assert 0 < prompt.turns_dropped <= len(earlier)
    assert prompt.max_tokens >= 50


async def test_turns_are_dropped_by_exchanges(engine: InferenceEngine) -> None:
    question = Turn(role=Role.USER, content="one two three four " * 5)
    said = [question, Turn(role=Role.ASSISTANT, content="Five.")] * 40

    prompts = [
        await prepare(engine, *said, QUESTION, completion_tokens_wanted=wanted)
        for wanted in range(1, 60, 3)
    ]

    dropped = {prompt.turns_dropped for prompt in prompts}
    assert len(dropped) > 1
    assert all(number % 2 == 0 for number in dropped)


async def test_a_message_that_cannot_fit_says_how_long_it_may_be(engine: InferenceEngine) -> None:
    with pytest.raises(PromptTooLong) as refusal:
        await prepare(engine, Turn(role=Role.USER, content="word " * 3000))

    assert refusal.value.prompt_tokens > refusal.value.prompt_tokens_max


async def test_a_model_outside_the_catalogue_is_unknown(engine: InferenceEngine) -> None:
    with pytest.raises(UnknownModel):
        await engine.prepare_prompt("gpt-9", [QUESTION], completion_tokens_wanted=1)


async def test_a_model_that_is_not_prepared_says_what_to_do(engine: InferenceEngine) -> None:
    with pytest.raises(ModelUnavailable, match="prepar"):
        await engine.prepare_prompt("gemma3-12b", [QUESTION], completion_tokens_wanted=1)


async def test_a_card_is_the_one_of_the_catalogue(engine: InferenceEngine) -> None:
    for card in engine.models():
        assert engine.card(card.name) == card
    assert engine.card("gpt-9") is None


async def test_the_meter_tells_how_much_of_the_prompt_was_read_also_of_who_left(
    engine: InferenceEngine,
) -> None:
    prompt = await prepare(engine, completion_tokens_wanted=400)
    request = GenerationRequest(prompt=prompt, max_tokens=400, sampling=GREEDY)
    engine.check_room(request)
    assert not engine.is_answered(request)

    meter = WorkMeter()
    async with aclosing(engine.stream(request, meter)) as stream:
        async for _ in stream:
            break

    # A real engine keeps what prompts begin with, and reads that only once.
    assert 0 < meter.prompt_tokens_read <= len(prompt.token_ids)


async def test_what_cannot_be_generated_is_an_inference_error(engine: InferenceEngine) -> None:
    with pytest.raises(InferenceError):
        await engine.prepare_prompt(MODEL, [], completion_tokens_wanted=1)
    with pytest.raises(InferenceError):
        await generate(engine, max_tokens=0)
