"""Which models are in memory: the budget, which are unloaded, which are not, what is refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from application.chat.inference import Completion, Delta, ModelState
from application.chat.inference_errors import ModelTooLarge, ModelUnavailable, OutOfMemory
from infrastructure.inference.models.engine import OnnxEngine
from infrastructure.inference.prepared.catalogue import CatalogueEntry
from infrastructure.inference.prepared.manifest import (
    GRAPH_FILE,
    read_manifest,
    record_of,
    write_manifest,
)
from infrastructure.inference.sessions.needs import memory_needs
from tests.infrastructure.inference.asking import (
    LONG,
    answer_to,
    card_of,
    request_for,
    settings_for,
)
from tests.infrastructure.inference.tiny import prepare_tiny

MODELS = ("gemma3-270m", "second", "third")
CATALOGUE = tuple(
    CatalogueEntry(name=name, title=name.title(), context_tokens=4096, package="none")
    for name in MODELS
)


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name in MODELS:
        prepare_tiny(folder, name=name)
    return folder


MUCH_TOKENS = 2_800


def _needed(models_dir: Path) -> int:
    return memory_needs(read_manifest(models_dir / MODELS[0]), settings_for(models_dir)).host


@pytest.fixture
async def engine(models_dir: Path) -> AsyncIterator[OnnxEngine]:
    """An engine with room for two of three models."""
    budget = int(2.5 * _needed(models_dir))
    settings = replace(settings_for(models_dir), memory_bytes_max=budget)
    engine = OnnxEngine(settings, CATALOGUE)
    yield engine
    await engine.close()


def _ready(engine: OnnxEngine) -> set[str]:
    return {card.name for card in engine.models() if card.state is ModelState.READY}


async def test_the_model_used_longest_ago_makes_room_and_comes_back_when_asked(
    engine: OnnxEngine,
) -> None:
    request = await request_for(engine)
    expected = (await answer_to(engine, request)).text
    await engine.preload("second")
    await engine.preload("gemma3-270m")
    await engine.preload("third")
    assert _ready(engine) == {"gemma3-270m", "third"}, "the second was used longest ago"
    await engine.preload("second")
    assert _ready(engine) == {"second", "third"}
    assert (await answer_to(engine, request)).text == expected
    assert _ready(engine) == {"gemma3-270m", "second"}


async def test_a_model_that_is_answering_is_never_unloaded(engine: OnnxEngine) -> None:
    request = await request_for(engine, max_tokens=LONG)
    async with aclosing(engine.stream(request)) as stream:
        assert isinstance(await anext(stream), Delta)
        await engine.preload("second")
        await engine.preload("third")
        assert _ready(engine) == {"gemma3-270m", "third"}, "although it was used longest ago"
        assert isinstance(await anext(stream), Delta)


async def test_what_finds_no_room_now_is_refused_and_loaded_when_there_is_room(
    models_dir: Path,
) -> None:
    budget = int(1.5 * _needed(models_dir))
    settings = replace(settings_for(models_dir), memory_bytes_max=budget)
    engine = OnnxEngine(settings, CATALOGUE)
    request = await request_for(engine, max_tokens=LONG)
    async with aclosing(engine.stream(request)) as stream:
        await anext(stream)
        with pytest.raises(ModelTooLarge, match="try again"):
            await engine.preload("second")
    async with asyncio.timeout(10):
        while "second" not in _ready(engine):
            # The row is given back before the next step, a moment after the stream is closed.
            try:
                await engine.preload("second")
            except ModelTooLarge:
                await asyncio.sleep(0)
    await engine.close()


async def test_what_can_never_fit_is_refused_before_loading_with_the_numbers(
    models_dir: Path,
) -> None:
    needed = _needed(models_dir)
    settings = replace(settings_for(models_dir), memory_bytes_max=needed - 1_000_000)
    engine = OnnxEngine(settings, CATALOGUE)
    with pytest.raises(ModelUnavailable) as caught:
        await engine.preload("second")
    assert isinstance(caught.value, ModelTooLarge)
    assert caught.value.needed_bytes == needed
    assert f"{needed / 1e6:,.0f} MB" in str(caught.value)
    assert "INFERENCE_MEMORY_MB" in str(caught.value)
    card = next(card for card in engine.models() if card.name == "second")
    assert (card.state, card.detail) == (ModelState.FAILED, str(caught.value))
    await engine.close()


async def test_releasing_memory_unloads_what_is_idle_and_the_next_request_loads_it_again(
    engine: OnnxEngine,
) -> None:
    request = await request_for(engine)
    expected = (await answer_to(engine, request)).text
    await engine.preload("second")
    released = await engine.release_memory()
    assert released.models_unloaded == ("gemma3-270m", "second")
    assert released.kept_bytes_dropped > 0
    assert released.rss_before_bytes > 0
    assert _ready(engine) == set()
    assert (await answer_to(engine, request)).text == expected


async def test_releasing_memory_leaves_a_model_alone_that_is_answering(engine: OnnxEngine) -> None:
    request = await request_for(engine, max_tokens=200)
    expected = await answer_to(engine, request)
    stream = engine.stream(request)
    items = [await anext(stream)]
    released = await engine.release_memory()
    assert released.models_unloaded == ()
    assert released.kept_bytes_dropped > 0
    items += [item async for item in stream]
    last = items[-1]
    assert isinstance(last, Completion)
    assert last.text == expected.text


async def test_a_closed_engine_has_nothing_to_release(models_dir: Path) -> None:
    engine = OnnxEngine(settings_for(models_dir), CATALOGUE)
    await engine.preload("second")
    await engine.close()
    assert (await engine.release_memory()).models_unloaded == ()


def _make_hungry(folder: Path) -> None:
    """Makes a graph that asks for 4 TB when a row has more than MUCH_TOKENS."""
    model = onnx.load(folder / GRAPH_FILE, load_external_data=False)
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["plain" if name == "logits" else name for name in node.output]
    for name, value, dims in (("edge", MUCH_TOKENS, []), ("much", 2**40, [1]), ("no", 0, [1])):
        graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, dims, [value]))
    wide = [("Cast", ["total_sequence_length"], "total", {"to": TensorProto.INT64})]
    wide.append(("Greater", ["total", "edge"], "hungry", {}))
    wide.append(("Where", ["hungry", "much", "no"], "size", {}))
    wide.append(("ConstantOfShape", ["size"], "waste", {}))
    wide.append(("ReduceSum", ["waste"], "nothing", {"keepdims": 0}))
    wide.append(("Add", ["plain", "nothing"], "logits", {}))
    for kind, inputs, output, more in wide:
        graph.node.append(helper.make_node(kind, inputs, [output], **more))
    onnx.save(model, folder / GRAPH_FILE)
    manifest = read_manifest(folder)
    files = {**manifest.files, GRAPH_FILE: record_of(folder / GRAPH_FILE)}
    write_manifest(replace(manifest, files=files), folder)


async def test_a_session_out_of_memory_is_a_typed_failure_and_the_next_request_is_answered(
    tmp_path: Path,
) -> None:
    prepare_tiny(tmp_path)
    _make_hungry(tmp_path / "gemma3-270m")
    engine = OnnxEngine(replace(settings_for(tmp_path), rows_max=3))
    good = await request_for(engine, max_tokens=60)
    expected = await answer_to(engine, good)
    too_much = await request_for(engine, "long " * 250)
    assert len(good.prompt.token_ids) + 60 < MUCH_TOKENS < len(too_much.prompt.token_ids)
    beside, failed, after = await asyncio.gather(
        answer_to(engine, good),
        answer_to(engine, too_much),
        answer_to(engine, good),
        return_exceptions=True,
    )
    assert isinstance(failed, OutOfMemory)
    for one in (beside, after):
        assert isinstance(one, Completion)
        assert one.text == expected.text
    assert card_of(engine).state is ModelState.READY
    await engine.close()
