"""Samples the next tokens of a batch from its logits.

The order is the usual one: repetition penalty, logit bias, temperature, top-k, top-p, min-p. The
penalty (Keskar et al. 2019, CTRL) applies to the answer's own tokens only; applied to the prompt it
would punish the very words that the question is about. min-p: Nguyen et al. 2024, "Turning up the
heat".

Every operation works on single rows, or on rows with the same top-k. So a row's token depends only
on its own logits, sampling parameters and seed.
"""

import secrets
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from application.chat.inference import Sampling
from application.chat.inference_errors import InferenceError, NumbersNotFinite

# An exact top-k over 262,144 logits starts from the maxima of this many interleaved lanes.
_LANES = 64
_SEED_BITS = 32


class Sampler:
    """The state of one answer's sampling. Not thread-safe.

    seed: of the random draws; None for a greedy answer without one.
    """

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self.greedy = sampling.temperature <= 0
        self.seed = sampling.seed
        if self.seed is None and not self.greedy:
            self.seed = secrets.randbits(_SEED_BITS)
        # PCG64 takes no negative seed, so seeds are taken as unsigned 64-bit numbers.
        self._random = np.random.Generator(np.random.PCG64((self.seed or 0) % 2**64))
        self._seen: dict[int, None] = {}

    def check(self, vocab_size: int) -> None:
        """Raises InferenceError if the bias names tokens that the model does not have."""
        if any(not 0 <= token < vocab_size for token, _ in self.sampling.logit_bias):
            raise InferenceError("the logit bias names tokens that the model does not know")

    def pick(self, logits: NDArray[np.float32]) -> int:
        """The next token of float32[vocab] logits, which are changed in place.

        Raises NumbersNotFinite if the largest logit is not finite.
        """
        token = pick_tokens(logits[None], [self])[0]
        if token is None:
            raise NumbersNotFinite
        return token

    def penalised_tokens(self) -> list[int]:
        return [] if self.sampling.repetition_penalty == 1 else list(self._seen)

    def draw(self) -> float:
        return self._random.random()

    def remember(self, token: int) -> None:
        self._seen[token] = None


def pick_tokens(logits: NDArray[np.float32], samplers: Sequence[Sampler]) -> list[int | None]:
    """The next token of each row of float32[rows, vocab] logits, which are changed in place;
    None if the largest logit is not finite."""
    _penalise(logits, samplers)
    _add_bias(logits, samplers)
    best = logits.argmax(axis=1)
    finite = np.isfinite(np.take_along_axis(logits, best[:, None], axis=1)[:, 0])
    for top_k, rows in draw_groups(samplers, finite).items():
        group = logits if len(rows) == len(samplers) else logits[rows]
        chosen = top_indices(group, top_k)
        values = np.take_along_axis(group, chosen, axis=1)
        best[rows] = draw_tokens(values, chosen, [samplers[row] for row in rows])
    return remember_tokens(best, finite, samplers)


def draw_groups(samplers: Sequence[Sampler], finite: NDArray[np.bool_]) -> dict[int, list[int]]:
    """The rows that draw at random, grouped by top_k."""
    groups: dict[int, list[int]] = {}
    for row, sampler in enumerate(samplers):
        if finite[row] and not sampler.greedy:
            groups.setdefault(max(0, sampler.sampling.top_k), []).append(row)
    return groups


def remember_tokens(
    tokens: NDArray[np.int64], finite: NDArray[np.bool_], samplers: Sequence[Sampler]
) -> list[int | None]:
    """Tell each sampler its token. Returns the tokens; None for rows that are not finite."""
    found: list[int | None] = []
    for sampler, token, good in zip(samplers, tokens.tolist(), finite, strict=True):
        if good:
            sampler.remember(token)
        found.append(token if good else None)
    return found


def _penalise(logits: NDArray[np.float32], samplers: Sequence[Sampler]) -> None:
    seen = [sampler.penalised_tokens() for sampler in samplers]
    counts = [len(tokens) for tokens in seen]
    if not any(counts):
        return
    rows = np.repeat(np.arange(len(seen)), counts)
    columns = np.array([token for tokens in seen for token in tokens], np.int64)
    penalties = np.array([sampler.sampling.repetition_penalty for sampler in samplers], "f4")[rows]
    values = logits[rows, columns]
    logits[rows, columns] = np.where(values > 0, values / penalties, values * penalties)


def _add_bias(logits: NDArray[np.float32], samplers: Sequence[Sampler]) -> None:
    for row, sampler in enumerate(samplers):
        for token, bias in sampler.sampling.logit_bias:
            logits[row, token] += np.float32(bias)


def draw_tokens(
    logits: NDArray[np.float32], ids: NDArray[np.int64], samplers: Sequence[Sampler]
) -> NDArray[np.int64]:
    """One random draw for each row. logits: float32[rows, K] of its candidates, the likeliest
    first. ids: int64[rows, K], the candidates' tokens."""
    asked = [sampler.sampling for sampler in samplers]
    temperatures = np.array([sampling.temperature for sampling in asked])[:, None]
    values = logits.astype(np.float64)
    weights = np.exp((values - values[:, :1]) / temperatures)
    # A running sum, because its first values do not depend on how many follow.
    summed = np.cumsum(weights, axis=1)
    # Keep the smallest set whose share reaches top_p; the likeliest token always stays.
    reach = np.array([sampling.top_p for sampling in asked]) * summed[:, -1]
    kept = (summed < reach[:, None]).sum(axis=1) + 1
    least = np.array([min(sampling.min_p, 1.0) for sampling in asked])
    kept = np.minimum(kept, (weights >= least[:, None]).sum(axis=1))
    kept = np.minimum(kept, ids.shape[1])[:, None]
    draws = np.array([sampler.draw() for sampler in samplers])[:, None]
    drawn = draws * np.take_along_axis(summed, kept - 1, axis=1)
    places = np.minimum((summed <= drawn).sum(axis=1)[:, None], kept - 1)
    found: NDArray[np.int64] = np.take_along_axis(ids, places, axis=1)[:, 0]
    return found


def top_indices(logits: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Indices of the `count` largest values of each row of float32[rows, vocab], largest first,
    ties by index; 0 takes all."""
    rows, size = logits.shape
    columns = size // _LANES
    if count <= 0 or count >= size:
        candidates = np.broadcast_to(np.arange(size), logits.shape)
    elif size % _LANES or count >= columns:
        candidates = np.sort(_largest(logits, count), axis=1)
    else:
        # Lane j holds the indices j, j + columns, … The `count` lanes with the largest maxima hold
        # the `count` largest values.
        maxima = logits.reshape(rows, _LANES, columns).max(axis=1)
        lanes = _largest(maxima, count)[:, :, None] + columns * np.arange(_LANES)
        lanes = lanes.reshape(rows, -1)
        places = _largest(np.take_along_axis(logits, lanes, axis=1), count)
        candidates = np.sort(np.take_along_axis(lanes, places, axis=1), axis=1)
    values = np.take_along_axis(logits, candidates, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(candidates, order, axis=1)


def _largest(values: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Indices of the `count` largest values of each row, in no order."""
    size = values.shape[1]
    return np.argpartition(values, size - count, axis=1)[:, size - count :]
