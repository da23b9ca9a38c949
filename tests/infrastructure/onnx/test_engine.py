"""The engine on a tiny model: states, streaming, the queue, cancellation, damaged files."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from application.inference import (
    Completion,
    Delta,
    EngineBusy,
    FinishReason,
    GenerationRequest,
    InferenceEngine,
    InferenceError,
    ModelCard,
    ModelState,
    ModelUnavailable,
    Role,
    Sampling,
    Turn,
    UnknownModel,
)
from infrastructure.onnx.engine import OnnxEngine, OnnxEngineSettings
from infrastructure.onnx.names import MANIFEST_FILE, WEIGHTS_FILE
from tests.infrastructure.onnx.tiny import TINY, TinyWeights, prepare_tiny

MODEL = "gemma3-270m"
# The tiny tokenizer spends a token on each of the header's characters.
WINDOW = 4096
LONG = 2000


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    prepare_tiny(tmp_path)
    return tmp_path


def _settings(models_dir: Path) -> OnnxEngineSettings:
    return OnnxEngineSettings(
        models_dir=models_dir, threads=1, context_tokens_max=WINDOW, queue_max=1
    )


@pytest.fixture
async def engine(models_dir: Path) -> AsyncIterator[OnnxEngine]:
    engine = OnnxEngine(_settings(models_dir))
    yield engine
    await engine.close()


async def _request(
    engine: InferenceEngine,
    text: str = "Hello",
    *,
    max_tokens: int = 20,
    sampling: Sampling | None = None,
) -> GenerationRequest:
    turns = [Turn(role=Role.USER, content=text)]
    prompt = await engine.prepare_prompt(MODEL, turns, completion_tokens_wanted=max_tokens)
    return GenerationRequest(
        prompt=prompt,
        max_tokens=max_tokens,
        sampling=sampling or Sampling(repetition_penalty=1.0),
    )


async def _answer(engine: InferenceEngine, request: GenerationRequest) -> Completion:
    items = [item async for item in engine.stream(request)]
    completion = items[-1]
    assert isinstance(completion, Completion)
    assert all(isinstance(item, Delta) for item in items[:-1])
    return completion


def _card(engine: InferenceEngine) -> ModelCard:
    return next(card for card in engine.models() if card.name == MODEL)


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
    before = _card(port)
    assert (before.state, before.runs_on) == (ModelState.PREPARED, None)
    completion = await _answer(port, await _request(port))
    after = _card(port)
    assert (after.state, after.runs_on) == (ModelState.READY, "CPU")
    assert completion.manifest_hash == before.manifest_hash == after.manifest_hash
    assert completion.completion_tokens == 20
    assert completion.prefill_ms > 0
    assert completion.decode_ms > 0


async def test_a_model_under_way_is_shown_as_loading_and_loaded_once(engine: OnnxEngine) -> None:
    loads = [asyncio.create_task(engine.preload(MODEL)) for _ in range(5)]
    await asyncio.sleep(0)
    assert _card(engine).state is ModelState.LOADING
    await asyncio.gather(*loads)
    assert _card(engine).state is ModelState.READY


async def test_a_request_that_goes_away_does_not_spoil_the_load_for_others(
    engine: OnnxEngine,
) -> None:
    impatient, patient = (asyncio.create_task(engine.preload(MODEL)) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    await patient
    assert _card(engine).state is ModelState.READY


async def test_the_catalogue_names_models_that_are_not_prepared_and_says_why(
    tmp_path: Path,
) -> None:
    engine = OnnxEngine(_settings(tmp_path))
    cards = list(engine.models())
    assert [card.name for card in cards] == ["gemma3-270m", "gemma3-1b", "gemma3-12b"]
    assert {card.state for card in cards} == {ModelState.NOT_PREPARED}
    assert "models prepare gemma3-270m" in cards[0].detail
    assert "local folder or hub repository" in cards[1].detail
    assert all(card.licence_url.startswith("https://") for card in cards)
    with pytest.raises(ModelUnavailable, match="models prepare gemma3-270m"):
        await engine.preload(MODEL)
    with pytest.raises(ModelUnavailable, match="local folder"):
        await engine.preload("gemma3-12b")
    with pytest.raises(UnknownModel, match="gemma3-270m"):
        await engine.preload("gpt")
    await engine.close()


async def test_a_model_prepared_while_the_engine_runs_is_found(tmp_path: Path) -> None:
    engine = OnnxEngine(_settings(tmp_path))
    assert _card(engine).state is ModelState.NOT_PREPARED
    prepare_tiny(tmp_path)
    assert _card(engine).state is ModelState.PREPARED
    await _answer(engine, await _request(engine))
    await engine.close()


async def test_a_full_queue_is_refused_and_closing_a_waiting_stream_frees_its_place(
    engine: OnnxEngine,
) -> None:
    request = await _request(engine, max_tokens=LONG)
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
    short = asyncio.create_task(_answer(engine, replace(request, max_tokens=3)))
    await asyncio.sleep(0)
    await running.aclose()
    assert (await short).completion_tokens == 3


async def test_closing_a_stream_stops_its_generation_and_repeating_it_gives_the_same_tokens(
    engine: OnnxEngine,
) -> None:
    request = await _request(engine, max_tokens=60, sampling=Sampling(temperature=1.0, seed=5))
    expected = await _answer(engine, request)
    for _ in range(3):
        async with aclosing(engine.stream(replace(request, max_tokens=LONG))) as stream:
            for _ in range(5):
                await anext(stream)
        again = await _answer(engine, request)
        assert replace(again, prefill_ms=0, decode_ms=0) == replace(
            expected, prefill_ms=0, decode_ms=0
        )


async def test_cancelling_the_task_frees_the_worker_for_the_next_request(
    engine: OnnxEngine,
) -> None:
    request = await _request(engine, max_tokens=LONG)
    seen = asyncio.Event()

    async def read() -> None:
        async for _ in engine.stream(request):
            seen.set()

    task = asyncio.create_task(read())
    await seen.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await _answer(engine, replace(request, max_tokens=2))).completion_tokens == 2


async def test_the_event_loop_goes_on_while_the_model_works(engine: OnnxEngine) -> None:
    tokens = 400
    request = await _request(engine, max_tokens=tokens)
    task = asyncio.create_task(_answer(engine, request))
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
    engine = OnnxEngine(_settings(tmp_path))
    request = await _request(engine)
    for _ in range(2):
        with pytest.raises(InferenceError, match="not finite"):
            await _answer(engine, request)
    assert _card(engine).state is ModelState.READY
    await engine.close()


async def test_a_step_that_breaks_off_fails_its_own_request_only(tmp_path: Path) -> None:
    # A graph with fewer positions than its manifest claims: ONNX Runtime refuses later steps.
    prepare_tiny(tmp_path, weights=TinyWeights(replace(TINY, positions_max=2000)))
    engine = OnnxEngine(_settings(tmp_path))
    good = await _request(engine)
    expected = (await _answer(engine, good)).text
    with pytest.raises(InferenceError, match="broke off"):
        await _answer(engine, await _request(engine, "long " * 200, max_tokens=50))
    assert (await _answer(engine, good)).text == expected
    await engine.close()


@pytest.mark.parametrize("ids", [(), (2, 10**6), (-1,)])
async def test_tokens_that_the_model_does_not_know_are_an_inference_error(
    engine: OnnxEngine, ids: tuple[int, ...]
) -> None:
    good = await _request(engine)
    with pytest.raises(InferenceError, match="does not know"):
        await _answer(engine, replace(good, prompt=replace(good.prompt, token_ids=ids)))


async def test_an_altered_file_is_named_with_its_remedy_and_the_model_marked_failed(
    models_dir: Path,
) -> None:
    weights = models_dir / MODEL / WEIGHTS_FILE
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    engine = OnnxEngine(_settings(models_dir))
    for _ in range(2):
        with pytest.raises(ModelUnavailable, match=r"weights\.bin.*models prepare gemma3-270m"):
            await engine.preload(MODEL)
        assert _card(engine).state is ModelState.FAILED
    assert "content changed" in _card(engine).detail
    await engine.close()


@pytest.mark.parametrize("damage", ["shorter", "gone", "manifest edited", "manifest cut"])
async def test_a_half_written_model_is_not_taken_for_a_prepared_one(
    models_dir: Path, damage: str
) -> None:
    folder = models_dir / MODEL
    manifest = folder / MANIFEST_FILE
    if damage == "shorter":
        (folder / WEIGHTS_FILE).write_bytes((folder / WEIGHTS_FILE).read_bytes()[:-1])
    elif damage == "gone":
        (folder / WEIGHTS_FILE).unlink()
    elif damage == "manifest edited":
        stored = json.loads(manifest.read_text())
        manifest.write_text(json.dumps({**stored, "licence": "mine"}))
    else:
        manifest.write_text(manifest.read_text()[:100])
    engine = OnnxEngine(_settings(models_dir))
    assert _card(engine).state is ModelState.NOT_PREPARED
    with pytest.raises(ModelUnavailable):
        await engine.preload(MODEL)
    await engine.close()


async def test_closing_the_engine_ends_streams_with_an_inference_error(
    models_dir: Path,
) -> None:
    engine = OnnxEngine(_settings(models_dir))
    request = await _request(engine, max_tokens=LONG)
    stream = await _started(engine, request)
    closing = asyncio.create_task(engine.close())
    with pytest.raises(InferenceError, match="closing"):
        async for _ in stream:
            pass
    await closing
    with pytest.raises(InferenceError):
        await engine.preload(MODEL)
    await engine.close()


async def test_a_provider_that_is_required_but_not_there_is_an_error_and_a_wish_is_not(
    models_dir: Path,
) -> None:
    settings = replace(_settings(models_dir), provider="cuda")
    wishing = OnnxEngine(settings)
    await wishing.preload(MODEL)
    runs_on = _card(wishing).runs_on
    await wishing.close()
    if runs_on == "CUDA":
        pytest.skip("this machine has a GPU")
    demanding = OnnxEngine(replace(settings, require_provider=True))
    with pytest.raises(ModelUnavailable, match="CUDA"):
        await demanding.preload(MODEL)
    await demanding.close()


def test_settings_that_cannot_work_are_refused_with_what_they_must_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="auto, cpu or cuda"):
        OnnxEngineSettings(models_dir=tmp_path, provider="tpu")
    with pytest.raises(ValueError, match="at least 1"):
        OnnxEngineSettings(models_dir=tmp_path, queue_max=0)


def test_importing_the_engine_imports_no_runtime() -> None:
    program = (
        "import sys, infrastructure.onnx.engine;"
        "print(sorted({'onnxruntime', 'onnx', 'gguf', 'tokenizers', 'transformers'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
