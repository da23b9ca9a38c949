"""What the engine says about its models: not prepared, prepared, damaged, where they run."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from application.chat.inference import ModelState
from application.chat.inference_errors import ModelUnavailable, UnknownModel
from infrastructure.inference.models.engine import OnnxEngine, OnnxEngineSettings
from infrastructure.inference.prepared.config import Precision, Provider
from infrastructure.inference.prepared.manifest import MANIFEST_FILE, WEIGHTS_FILE
from tests.infrastructure.inference.asking import (
    MODEL,
    answer_to,
    card_of,
    request_for,
    settings_for,
)
from tests.infrastructure.inference.tiny import prepare_tiny

HAS_GPU = Path("/dev/nvidia0").exists()


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    prepare_tiny(tmp_path)
    return tmp_path


async def test_the_catalogue_names_models_that_are_not_prepared_and_says_why(
    tmp_path: Path,
) -> None:
    engine = OnnxEngine(settings_for(tmp_path))
    cards = list(engine.models())
    assert [card.name for card in cards] == ["gemma3-270m", "gemma3-1b", "gemma3-4b", "gemma3-12b"]
    assert {card.state for card in cards} == {ModelState.NOT_PREPARED}
    assert "models prepare gemma3-270m" in cards[0].detail
    assert "gemma3-1b --from FOLDER" in cards[1].detail
    assert all(card.licence_url.startswith("https://") for card in cards)
    with pytest.raises(ModelUnavailable, match="models prepare gemma3-270m"):
        await engine.preload(MODEL)
    with pytest.raises(ModelUnavailable, match="a folder that you name"):
        await engine.preload("gemma3-12b")
    with pytest.raises(UnknownModel, match="gemma3-270m"):
        await engine.preload("gpt")
    await engine.close()


async def test_a_model_prepared_while_the_engine_runs_is_found(tmp_path: Path) -> None:
    engine = OnnxEngine(settings_for(tmp_path))
    assert card_of(engine).state is ModelState.NOT_PREPARED
    prepare_tiny(tmp_path)
    assert card_of(engine).state is ModelState.PREPARED
    await answer_to(engine, await request_for(engine))
    await engine.close()


async def test_an_altered_file_is_named_with_its_remedy_and_the_model_marked_failed(
    models_dir: Path,
) -> None:
    weights = models_dir / MODEL / WEIGHTS_FILE
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    engine = OnnxEngine(settings_for(models_dir))
    for _ in range(2):
        with pytest.raises(ModelUnavailable, match=r"weights\.bin.*models prepare gemma3-270m"):
            await engine.preload(MODEL)
        assert card_of(engine).state is ModelState.FAILED
    assert "content changed" in card_of(engine).detail
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
    engine = OnnxEngine(settings_for(models_dir))
    assert card_of(engine).state is ModelState.NOT_PREPARED
    with pytest.raises(ModelUnavailable):
        await engine.preload(MODEL)
    await engine.close()


async def test_a_provider_that_is_required_and_missing_is_an_error(
    models_dir: Path,
) -> None:
    settings = replace(settings_for(models_dir), provider="cuda")
    wishing = OnnxEngine(settings)
    await wishing.preload(MODEL)
    assert card_of(wishing).runs_on == "CPU", "the graph was made for the CPU"
    await wishing.close()
    demanding = OnnxEngine(replace(settings, require_provider=True))
    with pytest.raises(ModelUnavailable, match="prepare gemma3-270m --provider cuda"):
        await demanding.preload(MODEL)
    assert card_of(demanding).state is ModelState.FAILED
    await demanding.close()


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.BF16, Precision.INT8])
async def test_a_cuda_model_never_runs_on_the_cpu_instead(
    tmp_path: Path, precision: Precision
) -> None:
    """The CPU could run the first format; it has no kernels for the others."""
    if HAS_GPU:
        pytest.skip("this machine has a GPU")
    prepare_tiny(tmp_path, precision=precision, provider=Provider.CUDA)
    engine = OnnxEngine(settings_for(tmp_path))
    with pytest.raises(ModelUnavailable, match=r"does not offer here.*prepare .* --provider cpu"):
        await engine.preload(MODEL)
    assert card_of(engine).runs_on is None
    await engine.close()
    engine = OnnxEngine(replace(settings_for(tmp_path), provider="cpu"))
    with pytest.raises(ModelUnavailable, match="was prepared for CUDA"):
        await engine.preload(MODEL)
    await engine.close()


def test_settings_that_cannot_work_are_refused_with_what_they_must_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="auto, cpu or cuda"):
        OnnxEngineSettings(models_dir=tmp_path, provider="tpu")
    with pytest.raises(ValueError, match="at least 1"):
        OnnxEngineSettings(models_dir=tmp_path, queue_max=0)


def test_importing_the_engine_imports_no_runtime() -> None:
    program = (
        "import sys, infrastructure.inference.models.engine;"
        "print(sorted({'onnxruntime', 'onnx', 'gguf', 'tokenizers', 'transformers'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
