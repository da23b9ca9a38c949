"""Tokens chosen from logits that stay on the device are those that the host would choose."""

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from application.chat.inference import Sampling
from infrastructure.inference.prepared.config import Provider
from infrastructure.inference.sessions.device import Device, Region
from infrastructure.inference.sessions.device_sampling import DeviceSampler
from infrastructure.inference.sessions.sampling import Sampler, pick_tokens

VOCAB = 32_768
ASKED = [
    Sampling(),
    Sampling(repetition_penalty=1.7),
    Sampling(temperature=0.8, seed=1),
    Sampling(temperature=1.2, seed=2, top_k=5, repetition_penalty=1.3),
    Sampling(temperature=0.8, seed=3, top_p=0.7, min_p=0.05, logit_bias=((9, 3.0), (0, -50.0))),
    Sampling(temperature=2.0, seed=4, top_k=0, logit_bias=((7, 9.0),), repetition_penalty=1.2),
    Sampling(temperature=1.5, seed=5, top_k=65),
    Sampling(temperature=1.5, seed=6, top_k=0, top_p=0.8),
    Sampling(temperature=0.9, seed=7, top_k=64),
]


@pytest.fixture(scope="module")
def sampler() -> DeviceSampler:
    return DeviceSampler(Device(provider=Provider.CPU), vocab_size=VOCAB, rows_max=len(ASKED))


def _on_device(logits: NDArray[np.float32]) -> Region:
    return Region(
        address=logits.ctypes.data, shape=logits.shape, element=TensorProto.FLOAT, alive=logits
    )


def _logits(rows: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 4, (rows, VOCAB)).astype(np.float32)


def test_every_kind_of_row_gets_the_hosts_token_alone_and_beside_others(
    sampler: DeviceSampler,
) -> None:
    hosts, together, alone = [list(map(Sampler, ASKED)) for _ in range(3)]
    # Few tokens are ever likely, so that penalties meet tokens that were chosen before.
    tilt = np.where(np.arange(VOCAB) % 4096 == 0, 12, 0).astype(np.float32)
    for step in range(12):
        logits = _logits(len(ASKED), step) + tilt
        expected = pick_tokens(logits.copy(), hosts)
        assert sampler.pick(_on_device(logits), together) == expected
        singly = [
            sampler.pick(_on_device(row[None]), [one])[0]
            for row, one in zip(logits, alone, strict=True)
        ]
        assert singly == expected
    assert all(len(one.penalised_tokens()) > 1 for one in (hosts[1], hosts[3], hosts[5]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 99, VOCAB - 1])
def test_a_row_with_a_number_that_is_not_finite_gets_no_token_and_the_others_theirs(
    sampler: DeviceSampler, bad: float, at: int
) -> None:
    logits = _logits(3, 1)
    expected = pick_tokens(logits.copy(), [Sampler(ASKED[2]) for _ in range(3)])
    logits[1, at] = bad
    found = sampler.pick(_on_device(logits), [Sampler(ASKED[2]) for _ in range(3)])
    assert found == [expected[0], None, expected[2]]


def test_rows_can_be_looked_at_as_they_are(sampler: DeviceSampler) -> None:
    logits = _logits(4, 2)
    assert np.array_equal(sampler.fetch(_on_device(logits)), logits)


def test_a_vocabulary_smaller_than_the_candidates_is_drawn_from_whole() -> None:
    few = DeviceSampler(Device(provider=Provider.CPU), vocab_size=10, rows_max=1)
    sampling = Sampling(temperature=1.0, seed=3)
    host, device = Sampler(sampling), Sampler(sampling)
    for step in range(20):
        logits = _logits(1, step)[:, :10].copy()
        expected = pick_tokens(logits.copy(), [host])
        assert few.pick(_on_device(logits), [device]) == expected
