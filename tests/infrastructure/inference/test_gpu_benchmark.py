"""`benchmarks/inference/gpu.py` runs where there is no GPU, with a tiny model on the CPU."""

from functools import partial

import numpy as np
import pytest

from benchmarks.inference import gpu
from benchmarks.inference.gpu_limits import token_limit
from benchmarks.inference.random_model import TINY, RandomWeights, config_of
from infrastructure.inference.prepared.catalogue import BY_NAME, ModelShape
from tests.infrastructure.inference.reference import reference_logits


def test_the_whole_benchmark_runs_on_the_cpu_with_a_tiny_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert gpu.main(["--tiny", "--no-torch"]) == 0
    printed = capsys.readouterr().out
    for precision in ("fp32", "int8", "int4"):
        for batch in (1, 3):
            assert f"Decode, tiny {precision}, batch {batch} " in printed
            assert f"Prefill, tiny {precision}, batch {batch} " in printed
    assert "Copy rate of the memory" in printed
    assert "Error" not in printed, "a part that could not run is named by its error"


def test_random_models_have_the_catalogues_shapes_and_no_two_equal_rows() -> None:
    for name in ("gemma3-1b", "gemma3-4b", "gemma3-12b"):
        assert ModelShape.of(config_of(name)) == BY_NAME[name].shape
    weights = RandomWeights(config_of("gemma3-1b"))
    for block in weights.row_blocks("embedding", 30_000):
        assert len(np.unique(block[:, 0])) > 0.99 * len(block)
        assert block.shape[1] == 1152
        break
    assert np.array_equal(
        np.concatenate(list(RandomWeights(TINY).row_blocks("embedding", 100))),
        RandomWeights(TINY).tensor("embedding"),
    )


def test_random_models_give_logits_of_a_sane_size() -> None:
    logits = reference_logits(RandomWeights(TINY), [5, 9, 200, 17], last_only=True)[0]
    assert np.isfinite(logits).all()
    assert 0.05 < logits.std() < 50


def test_the_limit_counts_weights_once_a_step_and_windows_as_they_are_seen() -> None:
    limit = partial(token_limit, TINY, weights=1000, element=2, rate=1e6)
    assert limit(batch=1, context=0) == 1000
    # Two layers see 16 tokens, one sees all 100; keys and values of 2 heads of 32 halves.
    cache = 2 * 2 * 2 * 32 * (16 + 16 + 100)
    assert limit(batch=4, context=100) == 4e6 / (1000 + 4 * cache)
