import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from application.inference import InferenceError, Sampling
from infrastructure.onnx.sampling import Sampler, top_indices

VOCAB = 262_144


def _logits(seed: int = 0, size: int = VOCAB) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 4, size).astype(np.float32)


def _draws(sampling: Sampling, count: int) -> list[int]:
    sampler = Sampler(sampling)
    return [sampler.pick(_logits(step)) for step in range(count)]


def test_temperature_zero_takes_the_largest_logit_and_reports_no_seed() -> None:
    sampler = Sampler(Sampling(repetition_penalty=1.0))
    logits = _logits()
    assert sampler.pick(logits) == int(logits.argmax())
    assert sampler.seed is None


def test_the_same_seed_draws_the_same_tokens_and_another_seed_others() -> None:
    sampling = Sampling(temperature=1.0, seed=41)
    assert _draws(sampling, 20) == _draws(sampling, 20)
    assert _draws(sampling, 20) != _draws(Sampling(temperature=1.0, seed=42), 20)


def test_without_a_seed_one_is_drawn_and_reported_so_that_the_answer_can_be_repeated() -> None:
    sampler = Sampler(Sampling(temperature=1.0))
    found = [sampler.pick(_logits(step)) for step in range(20)]
    assert sampler.seed is not None
    assert found == _draws(Sampling(temperature=1.0, seed=sampler.seed), 20)


@pytest.mark.parametrize("seed", [0, -1, 2**63, -(2**70), 2**80])
def test_any_integer_is_a_seed(seed: int) -> None:
    sampling = Sampling(temperature=1.0, seed=seed)
    assert _draws(sampling, 3) == _draws(sampling, 3)


@pytest.mark.parametrize("count", [1, 5, 64, 511, 512, 4000])
def test_top_indices_over_a_large_vocabulary_are_those_of_a_full_sort(count: int) -> None:
    logits = _logits(3)
    taken = top_indices(logits[None], count)[0]
    # Equal logits may stand in for one another, so values are compared.
    assert logits[taken].tolist() == np.sort(logits)[::-1][:count].tolist()
    assert len(set(taken.tolist())) == count


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=40), st.integers(0, 50))
def test_top_indices_are_the_largest_values_largest_first(values: list[float], count: int) -> None:
    logits = np.array(values, np.float32)
    taken = top_indices(logits[None], count)[0]
    wanted = sorted(values, reverse=True)[: count or len(values)]
    assert logits[taken].tolist() == pytest.approx(wanted)
    assert len(set(taken.tolist())) == len(taken)


def test_top_k_one_and_a_tiny_top_p_are_both_greedy() -> None:
    best = int(_logits().argmax())
    for sampling in (
        Sampling(temperature=5.0, top_k=1, seed=1),
        Sampling(temperature=5.0, top_p=1e-9, seed=1),
        Sampling(temperature=1e-9, seed=1),
        Sampling(temperature=5.0, top_p=0.0, seed=1),
    ):
        assert Sampler(sampling).pick(_logits()) == best


def test_top_p_keeps_the_smallest_set_that_reaches_it() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    for top_p, allowed in ((0.5, {0}), (0.7, {0, 1}), (0.9, {0, 1, 2}), (1.0, {0, 1, 2, 3})):
        sampling = Sampling(temperature=1.0, top_p=top_p, seed=5, repetition_penalty=1.0)
        sampler = Sampler(sampling)
        assert {sampler.pick(logits.copy()) for _ in range(300)} == allowed


def test_draws_follow_the_probabilities() -> None:
    shares = np.array([0.6, 0.3, 0.1])
    sampler = Sampler(Sampling(temperature=1.0, seed=11, repetition_penalty=1.0))
    logits = np.log(shares).astype(np.float32)
    counts = np.bincount([sampler.pick(logits.copy()) for _ in range(4000)], minlength=3)
    assert np.abs(counts / 4000 - shares).max() < 0.03


def test_the_repetition_penalty_makes_an_answers_own_tokens_less_likely() -> None:
    logits = np.array([2.0, 1.9, -1.0], np.float32)
    sampler = Sampler(Sampling(repetition_penalty=1.1))
    assert [sampler.pick(logits.copy()) for _ in range(3)] == [0, 1, 0]
    negative = np.array([-1.0, -1.05], np.float32)
    sampler = Sampler(Sampling(repetition_penalty=1.1))
    assert [sampler.pick(negative.copy()) for _ in range(2)] == [0, 1]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_finite_are_an_inference_error(bad: float, temperature: float) -> None:
    logits = _logits()
    logits[99_999] = bad
    with pytest.raises(InferenceError, match="not finite"):
        Sampler(Sampling(temperature=temperature, seed=1)).pick(logits)
