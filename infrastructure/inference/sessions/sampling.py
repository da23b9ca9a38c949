"""Choosing the next tokens of a batch of rows from their logits.

Order of the steps, as in most of the field: repetition penalty, logit bias, temperature, top-k,
top-p, min-p. The penalty (Keskar et al. 2019, CTRL) looks at the answer's own tokens only: over
the whole prompt it would punish the very words that a question asks about. min-p: Nguyen et al.
2024, "Turning up the heat".

Every operation treats the rows one by one or groups rows that ask for the same top-k, so a
row's token is a function of its own logits, sampling and seed.
"""

import secrets
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from application.chat.inference import Sampling
from application.chat.inference_errors import InferenceError, NumbersNotFinite

# Exact top-k over 262,144 logits by way of the maxima of so many interleaved lanes.
_LANES = 64
_SEED_BITS = 32


class Sampler:
    """One answer's choices. Not thread-safe.

    seed: what the random draws come from; None for greedy answers without one.
    """

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self.greedy = sampling.temperature <= 0
        self.seed = sampling.seed
        if self.seed is None and not self.greedy:
            self.seed = secrets.randbits(_SEED_BITS)
        # PCG64 takes no negative seed, so numbers are read as unsigned 64-bit.
        self._random = np.random.Generator(np.random.PCG64((self.seed or 0) % 2**64))
        self._seen: dict[int, None] = {}

    def check(self, vocab_size: int) -> None:
        """Raises InferenceError where the bias names tokens that the model does not know."""
        if any(not 0 <= token < vocab_size for token, _ in self.sampling.logit_bias):
            raise InferenceError("the logit bias names tokens that the model does not know")

    def pick(self, logits: NDArray[np.float32]) -> int:
        """The next token of float32[vocab] logits, which are changed in place.

        Raises NumbersNotFinite when the largest logit is not a number.
        """
        token = pick_tokens(logits[None], [self])[0]
        if token is None:
            raise NumbersNotFinite
        return token

    def penalised(self) -> list[int]:
        return [] if self.sampling.repetition_penalty == 1 else list(self._seen)

    def draw(self) -> float:
        return self._random.random()

    def took(self, token: int) -> None:
        self._seen[token] = None


def pick_tokens(logits: NDArray[np.float32], samplers: Sequence[Sampler]) -> list[int | None]:
    """The next token of each row of float32[rows, vocab] logits, which are changed in place;
    None where the largest logit is not a number."""
    _penalise(logits, samplers)
    _add_bias(logits, samplers)
    best = logits.argmax(axis=1)
    finite = np.isfinite(np.take_along_axis(logits, best[:, None], axis=1)[:, 0])
    for top_k, rows in draw_groups(samplers, finite).items():
        group = logits if len(rows) == len(samplers) else logits[rows]
        chosen = top_indices(group, top_k)
        values = np.take_along_axis(group, chosen, axis=1)
        best[rows] = draw_tokens(values, chosen, [samplers[row] for row in rows])
    return taken(best, finite, samplers)


def draw_groups(samplers: Sequence[Sampler], finite: NDArray[np.bool_]) -> dict[int, list[int]]:
    """The rows that draw, by their top_k."""
    groups: dict[int, list[int]] = {}
    for row, sampler in enumerate(samplers):
        if finite[row] and not sampler.greedy:
            groups.setdefault(max(0, sampler.sampling.top_k), []).append(row)
    return groups


def taken(
    tokens: NDArray[np.int64], finite: NDArray[np.bool_], samplers: Sequence[Sampler]
) -> list[int | None]:
    """The rows' tokens, which their samplers remember; None where a row is not finite."""
    found: list[int | None] = []
    for sampler, token, good in zip(samplers, tokens.tolist(), finite, strict=True):
        if good:
            sampler.took(token)
        found.append(token if good else None)
    return found


def _penalise(logits: NDArray[np.float32], samplers: Sequence[Sampler]) -> None:
    seen = [sampler.penalised() for sampler in samplers]
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
    """One draw for each row from its candidates, float32[rows, K] and int64[rows, K], the
    likeliest first."""
    asked = [sampler.sampling for sampler in samplers]
    temperatures = np.array([sampling.temperature for sampling in asked])[:, None]
    values = logits.astype(np.float64)
    weights = np.exp((values - values[:, :1]) / temperatures)
    # A running sum, as its first places do not depend on how many follow.
    summed = np.cumsum(weights, axis=1)
    # Keep the smallest set whose share reaches top_p; the best token always stays.
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
        # Lane j holds indices j, j + columns, …: the largest values lie where the maxima do.
        maxima = logits.reshape(rows, _LANES, columns).max(axis=1)
        lanes = _largest(maxima, count)[:, :, None] + columns * np.arange(_LANES)
        lanes = lanes.reshape(rows, -1)
        places = _largest(np.take_along_axis(logits, lanes, axis=1), count)
        candidates = np.sort(np.take_along_axis(lanes, places, axis=1), axis=1)
    values = np.take_along_axis(logits, candidates, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(candidates, order, axis=1)


def _largest(values: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Places of the `count` largest in each row, in no order."""
    size = values.shape[1]
    return np.argpartition(values, size - count, axis=1)[:, size - count :]
