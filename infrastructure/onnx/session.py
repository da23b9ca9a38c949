"""One ONNX Runtime session over a Gemma graph, with its key/value buffer.

The buffer is one slab float32[2 * layers, 1, kv_heads, T, head_dim]; its rows are bound as past
and present of their layer at once, so attention writes in place and nothing is copied.
"""

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infrastructure.onnx.config import GemmaConfig, Provider
from infrastructure.onnx.names import GRAPH_FILE
from infrastructure.onnx.providers import provider_names, shown

# The buffer grows in steps of so many tokens.
_GROWTH_TOKENS = 256
_LOG_ERRORS_ONLY = 3


@dataclass(frozen=True, kw_only=True)
class SessionLimits:
    """threads: of one step of the model. chunk_tokens: prompt tokens a step takes at most,
    which is how long a cancellation can wait."""

    context_tokens: int
    threads: int
    chunk_tokens: int = 128


def open_session(folder: Path, *, threads: int, provider: str, spin: bool = False) -> Any:
    """An `onnxruntime.InferenceSession`; provider "cpu" or "cuda" is a wish, see `runs_on`.

    spin: threads wait for each other in a busy loop. On two cores that do nothing else this
    gave 5% more tokens a second; as soon as a database or an event loop wanted the same cores
    it halved them, because a spinning thread keeps the core from the one it waits for.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _LOG_ERRORS_ONLY
    # Weights stay out of the arena, which never gives memory back.
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    wanted = provider_names(Provider(provider))
    return onnxruntime.InferenceSession(str(folder / GRAPH_FILE), options, providers=wanted)


def runs_on(session: Any) -> str:
    """The provider that ONNX Runtime really took: it falls back without a word."""
    return shown(session.get_providers()[0])


class GemmaSession:
    """One sequence at a time: `prefill`, then `step` per token. For one thread only.

    fixed_prefix: token ids most prompts begin with. They are prefilled as a chunk of their own
    and their keys and values are kept from prompt to prompt.

    The kept part of a prompt is only ever cut where its own prefill would cut, so an answer has
    the same bits whether or not something was kept: kernels differ in the last bit by the
    number of tokens in a step, which quantised activations make visible.
    """

    def __init__(
        self,
        session: Any,
        config: GemmaConfig,
        limits: SessionLimits,
        fixed_prefix: Sequence[int] = (),
    ) -> None:
        self._session = session
        self._config = config
        self._limits = limits
        self._fixed_prefix = tuple(fixed_prefix)
        self._slab = np.zeros((2 * config.layers, 1, config.kv_heads, 0, config.head_dim), "f4")
        self._rows: list[Any] = []
        self._held: tuple[int, ...] = ()
        self._length = 0
        # One row of logits, float32[1, vocab], overwritten by each step.
        self._logits = np.zeros((1, config.vocab_size), np.float32)
        self._decode: _Binding | None = None

    @property
    def logits(self) -> NDArray[np.float32]:
        """float32[vocab] after the last step; callers may change it in place."""
        row: NDArray[np.float32] = self._logits[0]
        return row

    @property
    def vocab_size(self) -> int:
        return self._config.vocab_size

    @property
    def length(self) -> int:
        """Tokens in the buffer."""
        return self._length

    @property
    def buffer_tokens(self) -> int:
        return int(self._slab.shape[3])

    def prefill(self, token_ids: Sequence[int], *, room_for: int) -> Iterator[int]:
        """Run the prompt chunk by chunk; yields the tokens in the buffer after each.

        room_for: tokens the answer may take, for which the buffer is made large enough.
        Logits are those of the last token. An abandoned prefill is forgotten by the next one.
        """
        ids = tuple(token_ids)
        self._reserve(len(ids) + room_for)
        cuts = self._cuts(ids)
        start = self._kept(ids, cuts)
        self._held = ids[:start]
        for first, last in pairwise(cuts):
            if first < start:
                continue
            self._run(_Binding(self, last - first), ids[first:last], first)
            self._held = ids[:last]
            yield last

    def step(self, token_id: int) -> None:
        """Append one token of the answer; logits become those of the token after it."""
        if self._decode is None:
            self._decode = _Binding(self, 1)
        self._run(self._decode, (token_id,), self._length)

    def forget(self) -> None:
        """Trust nothing in the buffer, for instance after a step broke off."""
        self._held = ()
        self._length = 0

    def _cuts(self, ids: tuple[int, ...]) -> list[int]:
        """Ends of the chunks, a function of the ids alone."""
        prefix = len(self._fixed_prefix)
        fixed = 0 < prefix < len(ids) and ids[:prefix] == self._fixed_prefix
        chunk = self._limits.chunk_tokens
        cuts = list(range(0, prefix, chunk)) if fixed else []
        cuts += list(range(prefix if fixed else 0, len(ids), chunk))
        return [*cuts, len(ids)]

    def _kept(self, ids: tuple[int, ...], cuts: list[int]) -> int:
        """How many tokens of the last prompt's buffer serve this one; at least one is left."""
        held_cuts = set(self._cuts(self._held)) if self._held else set()
        for cut in reversed(cuts[:-1]):
            if cut in held_cuts and self._held[:cut] == ids[:cut]:
                return cut
        return 0

    def _reserve(self, tokens: int) -> None:
        assert tokens <= self._limits.context_tokens, "prompts are cut to the window before"
        if tokens <= self.buffer_tokens:
            return
        size = min(-(-tokens // _GROWTH_TOKENS) * _GROWTH_TOKENS, self._limits.context_tokens)
        slab = np.zeros((*self._slab.shape[:3], size, self._slab.shape[4]), np.float32)
        slab[:, :, :, : self.buffer_tokens] = self._slab
        self._slab = slab
        self._decode = None
        self._rows = [_ort_value(row) for row in slab]

    def _run(self, binding: "_Binding", ids: tuple[int, ...], past: int) -> None:
        binding.set(ids, past)
        self._session.run_with_iobinding(binding.io)
        self._length = past + len(ids)


class _Binding:
    """Inputs of a fixed number of tokens bound once; their memory is then written in place."""

    def __init__(self, owner: GemmaSession, tokens: int) -> None:
        self.io = owner._session.io_binding()
        self._ids = np.zeros((1, tokens), np.int64)
        self._seqlens = np.zeros(1, np.int32)
        self._total = np.zeros((), np.int32)
        inputs: dict[str, NDArray[Any]] = {
            "input_ids": self._ids,
            "last_positions": np.array([[tokens - 1]], np.int64),
            "seqlens_k": self._seqlens,
            "total_sequence_length": self._total,
        }
        values = {name: _ort_value(array) for name, array in inputs.items()}
        values["logits"] = _ort_value(owner._logits)
        for name in inputs:
            self.io.bind_ortvalue_input(name, values[name])
        self.io.bind_ortvalue_output("logits", values["logits"])
        for row, value in enumerate(owner._rows):
            place = f"{row // 2}.{('key', 'value')[row % 2]}"
            self.io.bind_ortvalue_input(f"past.{place}", value)
            self.io.bind_ortvalue_output(f"present.{place}", value)
        # OrtValues view numpy's memory, so both live as long as the binding.
        self._alive = (inputs, values)

    def set(self, ids: tuple[int, ...], past: int) -> None:
        self._ids[0] = ids
        self._seqlens[0] = past + len(ids) - 1
        self._total[...] = past + len(ids)


def _ort_value(array: NDArray[Any]) -> Any:
    """An OrtValue that shares the array's memory (it must be contiguous)."""
    import onnxruntime

    assert array.flags.c_contiguous
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)


def release_freed_memory() -> None:
    """Give memory that was freed back to the system, where the C library is glibc.

    Reading the tokenizer leaves 200 MB of freed JSON in glibc's pools otherwise.
    """
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return
