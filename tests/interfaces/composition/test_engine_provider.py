"""The engine as the settings ask for it: on CUDA where CUDA is asked for, or not at all."""

from pathlib import Path

import pytest

from application.chat.inference import ModelState
from application.chat.inference_errors import ModelUnavailable
from infrastructure.inference.prepared.config import Precision, Provider
from infrastructure.settings.service import Settings, load_settings
from interfaces.composition.chat import build_engine
from tests.infrastructure.inference.asking import MODEL, card_of
from tests.infrastructure.inference.tiny import prepare_tiny

HAS_GPU = Path("/dev/nvidia0").exists()


def _settings(models_dir: Path, environment: str, provider: str = "cuda") -> Settings:
    return load_settings(
        environment=environment,
        secret_key="s" * 40,
        models_dir=models_dir,
        inference_provider=provider,
        inference_threads=1,
        _env_file=None,
    )


async def test_development_runs_on_the_cpu_what_was_prepared_for_it_and_shows_that(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepare_tiny(tmp_path)
    engine = build_engine(_settings(tmp_path, "development"))
    await engine.preload(MODEL)
    card = card_of(engine)
    assert (card.runs_on, card.detail) == ("CPU", "Ready, runs on CPU.")
    assert "asks for CUDA" in caplog.text
    await engine.close()


async def test_production_refuses_a_model_that_would_not_run_on_cuda_as_asked(
    tmp_path: Path,
) -> None:
    prepare_tiny(tmp_path)
    engine = build_engine(_settings(tmp_path, "production"))
    with pytest.raises(ModelUnavailable, match=r"asks for CUDA: run `.* --provider cuda`"):
        await engine.preload(MODEL)
    assert card_of(engine).state is ModelState.FAILED
    assert card_of(engine).runs_on is None
    await engine.close()


@pytest.mark.parametrize("environment", ["development", "production"])
@pytest.mark.parametrize("provider", ["auto", "cuda"])
async def test_a_model_for_cuda_never_runs_on_the_cpu_in_silence(
    tmp_path: Path, environment: str, provider: str
) -> None:
    """fp16 is what ONNX Runtime would fall back with: the CPU has kernels for it."""
    if HAS_GPU:
        pytest.skip("this machine has a GPU")
    prepare_tiny(tmp_path, precision=Precision.FP16, provider=Provider.CUDA)
    engine = build_engine(_settings(tmp_path, environment, provider))
    with pytest.raises(ModelUnavailable, match="does not offer here"):
        await engine.preload(MODEL)
    assert card_of(engine).runs_on is None
    await engine.close()
