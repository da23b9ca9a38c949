"""Models whose rows stay on the device: its memory has a budget beside the machine's."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from application.chat.inference import Completion, Delta, ModelState
from application.chat.inference_errors import ModelTooLarge
from infrastructure.inference.models.engine import OnnxEngine, OnnxEngineSettings
from infrastructure.inference.prepared.catalogue import CatalogueEntry
from infrastructure.inference.prepared.config import Precision, Provider
from infrastructure.inference.prepared.manifest import read_manifest
from infrastructure.inference.sessions.needs import MemoryNeeds, memory_needs, session_limits
from tests.infrastructure.inference.asking import LONG, MODEL, answer_to, request_for, settings_for
from tests.infrastructure.inference.tiny import TINY, prepare_tiny

MODELS = (MODEL, "second", "third")
CATALOGUE = tuple(
    CatalogueEntry(name=name, title=name.title(), context_tokens=4096, package="none")
    for name in MODELS
)


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name in MODELS:
        prepare_tiny(folder, name=name, precision=Precision.FP32)
    return folder


def _settings(models_dir: Path) -> OnnxEngineSettings:
    return replace(settings_for(models_dir), on_device=True, rows_max=2)


def _needs(models_dir: Path) -> MemoryNeeds:
    return memory_needs(read_manifest(models_dir / MODEL), _settings(models_dir))


@pytest.fixture
async def engine(models_dir: Path) -> AsyncIterator[OnnxEngine]:
    """An engine whose device has room for two of three models."""
    budget = int(2.5 * _needs(models_dir).device)
    engine = OnnxEngine(replace(_settings(models_dir), gpu_bytes_max=budget), CATALOGUE)
    yield engine
    await engine.close()


def _ready(engine: OnnxEngine) -> set[str]:
    return {card.name for card in engine.models() if card.state is ModelState.READY}


async def test_the_engine_answers_on_the_device_as_it_does_on_the_host(
    engine: OnnxEngine, models_dir: Path
) -> None:
    request = await request_for(engine, max_tokens=60)
    found = await answer_to(engine, request)
    host = OnnxEngine(replace(_settings(models_dir), on_device=False), CATALOGUE)
    expected = await answer_to(host, request)
    await host.close()
    assert (found.text, found.completion_tokens) == (expected.text, expected.completion_tokens)


async def test_a_model_says_what_it_takes_of_the_device(
    engine: OnnxEngine, models_dir: Path
) -> None:
    await engine.preload("second")
    card = next(card for card in engine.models() if card.name == "second")
    taken = _needs(models_dir).device / 1e6
    assert card.detail == f"Ready, runs on CPU and takes {taken:,.0f} MB of its memory."


async def test_the_model_used_longest_ago_leaves_the_device_to_the_next(engine: OnnxEngine) -> None:
    for name in MODELS:
        await engine.preload(name)
    assert _ready(engine) == {"second", "third"}


async def test_what_can_never_fit_the_device_is_refused_before_loading_with_the_numbers(
    models_dir: Path,
) -> None:
    needed = _needs(models_dir).device
    engine = OnnxEngine(replace(_settings(models_dir), gpu_bytes_max=needed - 1_000_000), CATALOGUE)
    with pytest.raises(ModelTooLarge) as caught:
        await engine.preload("second")
    assert caught.value.needed_bytes == needed
    assert f"{needed / 1e6:,.0f} MB of the GPU's memory" in str(caught.value)
    assert "raise INFERENCE_GPU_MEMORY_MB" in str(caught.value)
    await engine.close()


async def test_a_model_that_is_answering_keeps_the_device_and_the_next_is_refused_for_now(
    models_dir: Path,
) -> None:
    budget = int(1.5 * _needs(models_dir).device)
    engine = OnnxEngine(replace(_settings(models_dir), gpu_bytes_max=budget), CATALOGUE)
    request = await request_for(engine, max_tokens=LONG)
    async with aclosing(engine.stream(request)) as stream:
        assert isinstance(await anext(stream), Delta)
        with pytest.raises(ModelTooLarge, match=r"GPU's memory, .* try again"):
            await engine.preload("second")
        assert isinstance(await anext(stream), Delta)
    await engine.close()


async def test_releasing_memory_says_what_the_device_got_back(
    engine: OnnxEngine, models_dir: Path
) -> None:
    request = await request_for(engine, max_tokens=200)
    await engine.preload("second")
    taken = _needs(models_dir).device
    async with aclosing(engine.stream(request)) as stream:
        await anext(stream)
        released = await engine.release_memory()
        assert released.models_unloaded == ("second",)
        assert (released.gpu_before_bytes, released.gpu_after_bytes) == (2 * taken, taken)
        assert released.kept_bytes_dropped > 0, "what was kept of the header lay on the device"
        items = [item async for item in stream]
    assert isinstance(items[-1], Completion)


def test_models_for_the_host_take_nothing_of_a_device_and_those_for_cuda_all_but_the_tokenizer(
    models_dir: Path, tmp_path: Path
) -> None:
    plain = settings_for(models_dir)
    assert memory_needs(read_manifest(models_dir / MODEL), plain).device == 0
    prepare_tiny(tmp_path, precision=Precision.BF16, provider=Provider.CUDA)
    manifest = read_manifest(tmp_path / MODEL)
    needs = memory_needs(manifest, replace(plain, rows_max=3))
    assert needs.rows == 3 * 4096 * TINY.kv_bytes_per_token // 2
    assert needs.weights == manifest.size_bytes()
    assert needs.device > needs.weights + needs.rows + needs.kept
    assert needs.host < memory_needs(read_manifest(models_dir / MODEL), plain).host


def test_rows_of_halves_are_twice_as_many_in_the_same_memory(
    models_dir: Path, tmp_path: Path
) -> None:
    prepare_tiny(tmp_path, precision=Precision.FP16, provider=Provider.CUDA)
    budget = 6 * 4096 * TINY.kv_bytes_per_token
    settings = replace(settings_for(models_dir), rows_max=64, kv_bytes_max=budget)
    assert session_limits(read_manifest(models_dir / MODEL), settings).rows_max == 6
    assert session_limits(read_manifest(tmp_path / MODEL), settings).rows_max == 12
