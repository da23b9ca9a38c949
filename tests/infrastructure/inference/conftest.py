from pathlib import Path

import pytest

from infrastructure.inference.preparing.prepare import prepare_model

# Ignored by git; preparing takes ten seconds and 310 MB, so test runs share it.
TEST_MODELS_DIR = Path(__file__).parents[3] / "data" / "test-models"


@pytest.fixture(scope="session")
def real_models_dir() -> Path:
    """A models folder with the real Gemma 3 270M, prepared by the first test that needs it."""
    prepare_model("gemma3-270m", TEST_MODELS_DIR, lambda _fraction, _sentence: None)
    return TEST_MODELS_DIR
