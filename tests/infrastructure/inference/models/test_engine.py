"""The engine on a tiny model: streaming, the queue, cancellation, failures."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from application.chat.inference import (
    Completion,
    Delta,
    FinishReason,
    GenerationRequest,
    InferenceEngine,
    ModelState,
    Sampling,
)
from application.chat.inference_errors import EngineBusy, InferenceError, OwnerBusy
from infrastructure.inference.models.engine import OnnxEngine
from tests.infrastructure.inference.asking import (
    LONG,
    MODEL,
    answer_to,
    card_of,
    request_for,
    settings_for,
)
from tests.infrastructure.inference.tiny import TINY, TinyWeights, prepare_tiny


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    prepare_tiny(tmp_path)
    return tmp_path


@pytest.fixture
async def engine(models_dir: Path) -> AsyncIterator[OnnxEngine]:
    engine = OnnxEngine(settings_for(models_dir))
    yield engine
    await engine.close()


async def _started(
    engine: OnnxEngine, request: GenerationRequest
) -> AsyncGenerator[Delta | Completion, None]:
    stream = engine.stream(request)
    assert isinstance(await anext(stream), Delta)
    return stream


async def test_the_first_request_loads_the_model_and_the_card_says_what_it_runs_on(
    engine: OnnxEngine,
) -> None:
    port: InferenceEngine = engine
    before = card_of(port)
    assert (before.state, before.runs_on) == (ModelState.PREPARED, None)
    completion = await answer_to(port, await request_for(port))
    after = card_of(port)
    assert (after.state, after.runs_on) == (ModelState.READY, "CPU")
    assert completion.manifest_hash == before.manifest_hash == after.manifest_hash
    assert completion.completion_tokens == 20
    assert completion.prefill_ms > 0
    assert completion.decode_ms > 0


async def test_a_model_under_way_is_shown_as_loading_and_loaded_once(engine: OnnxEngine) -> None:
    loads = [asyncio.create_task(engine.preload(MODEL)) for _ in range(5)]
    await asyncio.sleep(0)
    assert card_of(engine).state is ModelState.LOADING
    await asyncio.gather(*loads)
    assert card_of(engine).state is ModelState.READY


async def test_a_request_that_goes_away_does_not_spoil_the_load_for_others(
    engine: OnnxEngine,
) -> None:
    impatient, patient = (asyncio.create_task(engine.preload(MODEL)) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    await patient
    assert card_of(engine).state is ModelState.READY


async def test_a_full_queue_is_refused_and_closing_a_waiting_stream_frees_its_place(
    engine: OnnxEngine,
) -> None:
    request = await request_for(engine, max_tokens=LONG)
    running = await _started(engine, request)
    waiting = engine.stream(request)
    first_item = asyncio.ensure_future(anext(waiting))
    await asyncio.sleep(0)
    with pytest.raises(EngineBusy) as caught:
        await anext(engine.stream(request))
    assert caught.value.retry_after_s >= 1
    first_item.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first_item
    short = asyncio.create_task(answer_to(engine, replace(request, max_tokens=3)))
    await asyncio.sleep(0)
    await running.aclose()
    assert (await short).completion_tokens == 3


async def test_closing_a_stream_stops_its_generation_and_repeating_it_gives_the_same_tokens(
    engine: OnnxEngine,
) -> None:
    request = await request_for(engine, max_tokens=60, sampling=Sampling(temperature=1.0, seed=5))
    expected = await answer_to(engine, request)
    for _ in range(3):
        async with aclosing(engine.stream(replace(request, max_tokens=LONG))) as stream:
            for _ in range(5):
                await anext(stream)
        again = await answer_to(engine, request)
        assert replace(again, prefill_ms=0, decode_ms=0) == replace(
            expected, prefill_ms=0, decode_ms=0
        )


async def test_cancelling_the_task_frees_the_worker_for_the_next_request(
    engine: OnnxEngine,
) -> None:
    request = await request_for(engine, max_tokens=LONG)
    seen = asyncio.Event()

    async def read() -> None:
        async for _ in engine.stream(request):
            seen.set()

    task = asyncio.create_task(read())
    await seen.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await answer_to(engine, replace(request, max_tokens=2))).completion_tokens == 2


async def test_the_event_loop_goes_on_while_the_model_works(engine: OnnxEngine) -> None:
    tokens = 400
    request = await request_for(engine, max_tokens=tokens)
    task = asyncio.create_task(answer_to(engine, request))
    rounds = 0
    while not task.done():
        await asyncio.sleep(0)
        rounds += 1
    assert (await task).finish_reason is FinishReason.LENGTH
    assert rounds > tokens


async def test_numbers_that_are_not_finite_fail_that_request_with_an_inference_error(
    tmp_path: Path,
) -> None:
    prepare_tiny(tmp_path, weights=TinyWeights(broken=True))
    engine = OnnxEngine(settings_for(tmp_path))
    request = await request_for(engine)
    for _ in range(2):
        with pytest.raises(InferenceError, match="not finite"):
            await answer_to(engine, request)
    assert card_of(engine).state is ModelState.READY
    await engine.close()


async def test_a_step_that_breaks_off_fails_its_own_request_only(tmp_path: Path) -> None:
    # A graph with fewer positions than its manifest claims: ONNX Runtime refuses later steps.
    prepare_tiny(tmp_path, weights=TinyWeights(replace(TINY, positions_max=2000)))
    engine = OnnxEngine(settings_for(tmp_path))
    good = await request_for(engine)
    expected = (await answer_to(engine, good)).text
    with pytest.raises(InferenceError, match="broke off"):
        await answer_to(engine, await request_for(engine, "long " * 200, max_tokens=50))
    assert (await answer_to(engine, good)).text == expected
    await engine.close()


@pytest.mark.parametrize("ids", [(), (2, 10**6), (-1,)])
async def test_tokens_that_the_model_does_not_know_are_an_inference_error(
    engine: OnnxEngine, ids: tuple[int, ...]
) -> None:
    good = await request_for(engine)
    with pytest.raises(InferenceError, match="does not know"):
        await answer_to(engine, replace(good, prompt=replace(good.prompt, token_ids=ids)))


async def test_closing_the_engine_ends_streams_with_an_inference_error(
    models_dir: Path,
) -> None:
    engine = OnnxEngine(settings_for(models_dir))
    request = await request_for(engine, max_tokens=LONG)
    stream = await _started(engine, request)
    closing = asyncio.create_task(engine.close())
    with pytest.raises(InferenceError, match="closing"):
        async for _ in stream:
            pass
    await closing
    with pytest.raises(InferenceError):
        await engine.preload(MODEL)
    await engine.close()


async def test_a_users_crowd_gives_way_to_the_first_message_of_another(engine: OnnxEngine) -> None:
    """One row and one place to wait, both of which one user has taken."""
    request = replace(await request_for(engine, max_tokens=LONG), owner="a")
    async with aclosing(await _started(engine, request)):
        crowding = asyncio.create_task(answer_to(engine, request))
        await asyncio.sleep(0)
        other = replace(await request_for(engine, max_tokens=2), owner="b")
        with pytest.raises(OwnerBusy):
            engine.check_room(request)
        engine.check_room(other)
        answered = asyncio.create_task(answer_to(engine, other))
        with pytest.raises(EngineBusy):
            await crowding
    assert (await answered).completion_tokens == 2
