"""The graph against transformers' Gemma3ForCausalLM, whose logits of a tiny random model with
sliding and full layers are committed; `make parity` checks them, and the real model."""

import numpy as np
import pytest

from benchmarks.inference.graph_runner import GraphRunner, RunnerOptions
from infrastructure.inference.prepared.config import Precision
from infrastructure.inference.preparing.hub_config import read_hub_config
from infrastructure.inference.preparing.safetensors_folder import SafetensorsFolder
from infrastructure.inference.preparing.safetensors_weights import SafetensorsWeights
from tests.infrastructure.inference.reference import reference_logits
from tests.infrastructure.inference.tiny import TinyWeights
from tests.parity import fixture
from tests.parity.checks import last_logits, written

LENGTHS = [len(ids) for ids in fixture.prompts()]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> GraphRunner:
    """The fp32 graph of the folder that transformers read, prepared as users' folders are."""
    folder = tmp_path_factory.mktemp("parity")
    fixture.write_folder(folder / "weights")
    config = read_hub_config(folder / "weights", positions_max=128)
    source = SafetensorsWeights(SafetensorsFolder(folder / "weights"), config)
    return GraphRunner(
        written(source, folder / "graph", Precision.FP32),
        config,
        RunnerOptions(rows=1, tokens=128),
    )


@pytest.mark.parametrize("keep", [1, 5])
def test_logits_equal_those_of_transformers_within_and_beyond_the_window(
    runner: GraphRunner, keep: int
) -> None:
    window = fixture.TINY_CONFIG.sliding_window
    assert min(LENGTHS) < window < max(LENGTHS)
    for ids, expected in zip(fixture.prompts(), fixture.read_logits(), strict=True):
        found = last_logits(runner, ids, min(keep, len(ids)))[-1]
        assert np.abs(found - expected).max() <= 1e-4


def test_the_numpy_reference_of_other_tests_equals_transformers_too() -> None:
    weights = TinyWeights(fixture.TINY_CONFIG)
    for ids, expected in zip(fixture.prompts(), fixture.read_logits(), strict=True):
        assert np.abs(reference_logits(weights, ids, last_only=True)[0] - expected).max() <= 1e-4


def test_the_committed_logits_tell_a_wrong_window_scale_or_rope_apart() -> None:
    from dataclasses import replace

    config, ids = fixture.TINY_CONFIG, fixture.prompts()[-1]
    expected = fixture.read_logits()[-1]
    for wrong in (
        replace(config, sliding_window=config.sliding_window + 1),
        replace(config, rope_factor_global=1.0),
        replace(config, attention_scale=config.head_dim**-0.5),
        replace(config, full_attention_every=config.full_attention_every + 1),
    ):
        found = reference_logits(TinyWeights(wrong), ids, last_only=True)[0]
        assert np.abs(found - expected).max() > 1e-3
