"""A session of a Gemma graph whose KV cache is in the host's memory.

A layer's rows of the KV cache are bound as its past and as its present, so attention writes in
place and nothing is copied.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infrastructure.inference.prepared.config import GemmaConfig, Provider
from infrastructure.inference.prepared.manifest import GRAPH_FILE
from infrastructure.inference.sessions.host_kv_cache import HostKvCache
from infrastructure.inference.sessions.kv_layout import kv_name
from infrastructure.inference.sessions.providers import (
    LOG_ERRORS_ONLY,
    provider_names,
    provider_title,
)
from infrastructure.inference.sessions.sampling import Sampler, pick_tokens

# Bindings kept for later steps of the same shape; making one takes half a millisecond.
_BINDINGS_MAX = 64


@dataclass(frozen=True, kw_only=True)
class SessionLimits:
    """threads: of one step. chunk_tokens: the most prompt tokens in a step, hence how long other
    rows and cancellations may have to wait. rows_max: batch rows."""

    context_tokens: int
    threads: int
    chunk_tokens: int = 64
    rows_max: int = 1


def open_session(folder: Path, *, threads: int, provider: str, spin_us: int = 0) -> Any:
    """An `onnxruntime.InferenceSession`. provider: "cpu" or "cuda"; ONNX Runtime may take the CPU
    instead, see `runs_on`.

    spin_us: how long a thread waits for another one in a busy loop before it sleeps. A value near
    the duration of the longer kernels gave 10 to 20% more tokens a second on two idle cores, and
    cost nothing measurable on busy ones.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = LOG_ERRORS_ONLY
    # Weights stay out of the arena, which never gives memory back.
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin_us else "0")
    if spin_us:
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(spin_us))
    wanted = provider_names(Provider(provider))
    return onnxruntime.InferenceSession(str(folder / GRAPH_FILE), options, providers=wanted)


def runs_on(session: Any) -> str:
    """The provider that ONNX Runtime really took, because it falls back silently."""
    return provider_title(session.get_providers()[0])


class HostSession:
    """A `RowSession` with KV cache and logits in the host's memory. For one thread only.

    A row's logits do not depend on the other rows: prompts are prefilled one row at a time, and
    decode kernels sum in the same order for any number of rows. `check_row_independence` finds out
    whether that holds on this machine. If not, it sets rows_together to False.
    """

    def __init__(self, session: Any, config: GemmaConfig, limits: SessionLimits) -> None:
        self._session = session
        self._limits = limits
        self.rows_together = True
        self.vocab_size = config.vocab_size
        self.kv_cache = HostKvCache(config, rows=limits.rows_max, tokens=limits.context_tokens)
        # Overwritten by each step.
        self._logits = np.zeros((limits.rows_max, config.vocab_size), np.float32)
        self._bindings: dict[tuple[int, int, int, bool], _Binding] = {}

    @property
    def limits(self) -> SessionLimits:
        return self._limits

    def prefill(self, row: int, ids: Sequence[int], first: int, last: int) -> NDArray[np.float32]:
        """Append the tokens from `first` up to `last` of a prompt to its row.

        Returns float32[1, vocab] logits at the end of the prompt, else float32[0, vocab]. Callers
        may change them in place.
        """
        chunk = np.array([ids[first:last]], np.int64)
        return self._run(row, chunk, [last], logits=last == len(ids))

    def decode(self, token_ids: Sequence[int], lengths: Sequence[int]) -> NDArray[np.float32]:
        """Append one token to each of the first rows. lengths: tokens in each row before that.

        Returns float32[rows, vocab] logits, which callers may change in place.
        """
        ids = np.array(token_ids, np.int64)[:, None]
        totals = [length + 1 for length in lengths]
        if self.rows_together:
            return self._run(0, ids, totals)
        for row in range(len(ids)):
            self._run(row, ids[row : row + 1], totals[row : row + 1])
        return self._logits[: len(ids)]

    def pick(self, logits: NDArray[np.float32], samplers: Sequence[Sampler]) -> list[int | None]:
        return pick_tokens(logits, samplers)

    def check_row_independence(self, token: int, length: int) -> bool:
        """Decode one more token of row 0, which has `length` tokens, alone and with other rows. If
        the bits differ, rows are decoded one by one from now on."""
        alone = self.decode_row(0, token, length).copy()
        for rows in {min(2, self._limits.rows_max), self._limits.rows_max}:
            lengths = [length, *(row % length for row in range(1, rows))]
            beside = self.decode([token] * rows, lengths)[:1]
            self.rows_together = self.rows_together and np.array_equal(alone, beside)
        return self.rows_together

    def decode_row(self, row: int, token_id: int, length: int) -> NDArray[np.float32]:
        """One row of `decode` by itself. Returns float32[1, vocab] logits."""
        return self._run(row, np.array([[token_id]], np.int64), [length + 1])

    def _run(
        self,
        first_row: int,
        ids: NDArray[np.int64],
        totals: Sequence[int],
        *,
        logits: bool = True,
    ) -> NDArray[np.float32]:
        rows, tokens = ids.shape
        assert max(totals) <= self.kv_cache.values.shape[3], "prompts are cut to the window before"
        key = (first_row, rows, tokens, logits)
        binding = self._bindings.get(key)
        if binding is None:
            if len(self._bindings) >= _BINDINGS_MAX:
                self._bindings.clear()
            caches = self.kv_cache.values[:, first_row : first_row + rows]
            out = self._logits[first_row : first_row + rows if logits else first_row]
            binding = self._bindings[key] = _Binding(self._session, caches, out, tokens)
        binding.set(ids, totals)
        self._session.run_with_iobinding(binding.io)
        return binding.logits


class _Binding:
    """Inputs and outputs of all steps of one shape. Bound once; then written in place.

    caches: float32[2 * layers, rows, kv_heads, T, head_dim]. logits: float32[rows, vocab], or
    float32[0, vocab] if none are wanted.
    """

    def __init__(
        self, session: Any, caches: NDArray[Any], logits: NDArray[np.float32], tokens: int
    ) -> None:
        rows = caches.shape[1]
        self.io = session.io_binding()
        self.logits = logits
        self._ids = np.zeros((rows, tokens), np.int64)
        self._seqlens = np.zeros(rows, np.int32)
        self._total = np.zeros((), np.int32)
        inputs: dict[str, NDArray[Any]] = {
            "input_ids": self._ids,
            "logits_at": np.array(
                [(row, tokens - 1) for row in range(len(logits))], np.int64
            ).reshape(-1, 2),
            "seqlens_k": self._seqlens,
            "total_sequence_length": self._total,
        }
        values = {name: _ort_value(array) for name, array in inputs.items()}
        values["logits"] = _ort_value(logits)
        for name in inputs:
            self.io.bind_ortvalue_input(name, values[name])
        self.io.bind_ortvalue_output("logits", values["logits"])
        for place, cache in enumerate(caches):
            past, value = kv_name("past", place), _ort_value(cache)
            self.io.bind_ortvalue_input(past, value)
            self.io.bind_ortvalue_output(kv_name("present", place), value)
            values[past] = value
        # OrtValues view numpy's memory, so both live as long as the binding.
        self._alive = (inputs, values)

    def set(self, ids: NDArray[np.int64], totals: Sequence[int]) -> None:
        self._ids[:] = ids
        self._seqlens[:] = totals
        self._seqlens -= 1
        self._total[...] = max(totals)


def _ort_value(array: NDArray[Any]) -> Any:
    """An OrtValue that shares the array's memory (it must be contiguous)."""
    import onnxruntime

    assert array.flags.c_contiguous
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)


def release_freed_memory() -> None:
    """Return freed memory to the system, if the C library is glibc.

    Otherwise glibc keeps the 200 MB that reading the tokenizer took and freed.
    """
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return
