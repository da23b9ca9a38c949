import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from application.chat.inference import Sampling
from application.chat.inference_errors import InferenceError
from infrastructure.inference.sessions.sampling import Sampler, pick_tokens, top_indices

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


def test_min_p_leaves_out_what_is_much_less_likely_than_the_best() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    for min_p, allowed in ((0.0, {0, 1, 2, 3}), (0.2, {0, 1, 2}), (0.5, {0, 1}), (1.0, {0})):
        sampling = Sampling(temperature=1.0, min_p=min_p, seed=5, repetition_penalty=1.0)
        sampler = Sampler(sampling)
        assert {sampler.pick(logits.copy()) for _ in range(300)} == allowed


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_bias_bans_and_prefers_tokens(temperature: float) -> None:
    logits = np.array([3.0, 2.0, 1.0, 0.0], np.float32)
    banned = Sampling(temperature=temperature, seed=1, logit_bias=((0, -100.0), (1, -100.0)))
    sampler = Sampler(banned)
    assert {sampler.pick(logits.copy()) for _ in range(200)} <= {2, 3}
    preferred = Sampler(Sampling(temperature=temperature, seed=1, logit_bias=((3, 100.0),)))
    assert {preferred.pick(logits.copy()) for _ in range(50)} == {3}


def test_a_bias_on_tokens_that_do_not_exist_is_an_inference_error() -> None:
    for token in (-1, 512):
        with pytest.raises(InferenceError, match="logit bias"):
            Sampler(Sampling(logit_bias=((token, 1.0),))).check(512)


def test_rows_sampled_together_get_what_each_gets_alone() -> None:
    asked = [
        Sampling(),
        Sampling(temperature=0.8, seed=1),
        Sampling(temperature=1.2, seed=2, top_k=5, repetition_penalty=1.3),
        Sampling(temperature=0.8, seed=3, top_p=0.7, min_p=0.05),
        Sampling(temperature=2.0, seed=4, top_k=0, logit_bias=((7, 9.0),)),
        Sampling(temperature=0.8, seed=1),
    ]
    together, alone = [list(map(Sampler, asked)) for _ in range(2)]
    for step in range(12):
        logits = np.stack([_logits(step * 10 + row, 32_768) for row in range(len(asked))])
        expected = [sampler.pick(row.copy()) for sampler, row in zip(alone, logits, strict=True)]
        assert pick_tokens(logits, together) == expected


def test_a_row_whose_numbers_are_not_finite_gets_no_token_and_the_others_theirs() -> None:
    logits = np.stack([_logits(1), _logits(2), _logits(3)])
    logits[1, 5] = np.nan
    samplers = [Sampler(Sampling(temperature=1.0, seed=row)) for row in range(3)]
    first, second, third = pick_tokens(logits, samplers)
    assert second is None
    assert first is not None
    assert third is not None


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
