"""Samples next tokens from logits that stay on the device.

Only the 64 likeliest tokens of a row come to the host, after penalty and bias. `sampling` draws
from them, so an answer is the same as with the whole row. A row that may draw from more tokens
(top_k 0 or above 64) is copied whole, but no other row of its batch is.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from application.chat.inference import Sampling
from infrastructure.inference.sessions.candidates import CANDIDATES, candidates_graph
from infrastructure.inference.sessions.device import Device, Region
from infrastructure.inference.sessions.needs import SAMPLING_COPIES
from infrastructure.inference.sessions.sampling import (
    Sampler,
    draw_groups,
    draw_tokens,
    remember_tokens,
    top_indices,
)


class DeviceSampler:
    """For one thread only. rows_max: the most rows of logits in a step."""

    def __init__(self, device: Device, *, vocab_size: int, rows_max: int) -> None:
        self._device = device
        arena_bytes = (SAMPLING_COPIES - 1) * 4 * rows_max * vocab_size
        self._session = device.session(candidates_graph(vocab_size), arena_bytes=arena_bytes)

    def pick(self, logits: Region, samplers: Sequence[Sampler]) -> list[int | None]:
        """The next token of each row of float32[rows, vocab]; None if any of its logits is not
        finite, while `pick_tokens` looks at the largest one only.
        """
        whole = [
            row
            for row, sampler in enumerate(samplers)
            if not sampler.greedy and not 0 < sampler.sampling.top_k <= CANDIDATES
        ]
        values, ids, sums, whole_rows = self._run(logits, samplers, whole)
        best = ids[:, 0].copy()
        finite = np.isfinite(sums) & np.isfinite(values[:, 0])
        for top_k, rows in draw_groups(samplers, finite).items():
            drawing = [samplers[row] for row in rows]
            if rows[0] in whole:
                group = whole_rows[[whole.index(row) for row in rows]]
                chosen = top_indices(group, top_k)
                best[rows] = draw_tokens(np.take_along_axis(group, chosen, 1), chosen, drawing)
            else:
                best[rows] = draw_tokens(values[rows, :top_k], ids[rows, :top_k], drawing)
        return remember_tokens(best, finite, samplers)

    def fetch(self, logits: Region) -> NDArray[np.float32]:
        """The unchanged rows, copied to the host."""
        rows = logits.shape[0]
        found: NDArray[np.float32] = self._run(logits, [Sampler(Sampling())] * rows, range(rows))[3]
        return found

    def _run(
        self, logits: Region, samplers: Sequence[Sampler], whole: Sequence[int]
    ) -> list[NDArray[Any]]:
        io = self._session.io_binding()
        self._device.bind_input(io, "logits", logits)
        for name, array in _penalties_and_biases(samplers).items():
            io.bind_cpu_input(name, array)
        io.bind_cpu_input("whole_rows", np.array(whole, np.int64))
        for name in ("top_logits", "top_ids", "sums", "whole"):
            io.bind_output(name, "cpu")
        self._session.run_with_iobinding(io)
        found: list[NDArray[Any]] = io.copy_outputs_to_cpu()
        return found


def _penalties_and_biases(samplers: Sequence[Sampler]) -> dict[str, NDArray[Any]]:
    """Inputs of the candidates graph. Each row has at least one entry."""
    seen = [sampler.penalised_tokens() for sampler in samplers]
    biases = [sampler.sampling.logit_bias for sampler in samplers]
    rows = len(samplers)
    seen_ids = np.zeros((rows, max(1, *map(len, seen))), np.int64)
    penalties = np.ones((rows, 1), np.float32)
    bias_ids = np.zeros((rows, max(1, *map(len, biases))), np.int64)
    bias_values = np.zeros(bias_ids.shape, np.float32)
    for row, (tokens, shifts) in enumerate(zip(seen, biases, strict=True)):
        if tokens:
            seen_ids[row] = tokens[0]
            seen_ids[row, : len(tokens)] = tokens
            penalties[row] = samplers[row].sampling.repetition_penalty
        for place, (token, shift) in enumerate(shifts):
            bias_ids[row, place], bias_values[row, place] = token, shift
    return {
        "seen_ids": seen_ids,
        "penalties": penalties,
        "bias_ids": bias_ids,
        "biases": bias_values,
    }
