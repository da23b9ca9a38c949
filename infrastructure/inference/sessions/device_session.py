"""A batch whose KV cache and logits stay on the device that the model runs on.

The steps are those of `host_session.HostSession`. All that a step sends over the bus is the token
ids on the way in and the likeliest tokens of each row on the way out.

A GPU's kernels may sum in another order for another number of rows, so a step's shape must not
depend on who else is served. `check_row_independence` tries three ways, the cheapest first, until
one holds:

1. steps with as many rows as are needed;
2. steps with all rows, whether they answer or not. A device spends most of a step on reading the
   weights, so the further rows cost little;
3. steps with one row.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from infrastructure.inference.prepared.config import GemmaConfig
from infrastructure.inference.sessions.device import Device, Region, element_of
from infrastructure.inference.sessions.device_kv_cache import DeviceKvCache
from infrastructure.inference.sessions.device_sampling import DeviceSampler
from infrastructure.inference.sessions.host_session import SessionLimits
from infrastructure.inference.sessions.kv_layout import kv_cache_shape, kv_name
from infrastructure.inference.sessions.sampling import Sampler

_log = logging.getLogger(__name__)

# Bindings kept for later prefill chunks of the same shape.
_BINDINGS_MAX = 64
_NEVER_CAPTURED = "-1"


@dataclass(frozen=True, kw_only=True)
class DeviceLimits:
    """kept_bytes_max: device memory for the prefix cache. cuda_graphs: decode steps are captured
    once for each number of rows, and replayed from then on."""

    kept_bytes_max: int = 0
    cuda_graphs: bool = False


class DeviceSession:
    """A `RowSession`. session: of a graph in the device's format."""

    def __init__(
        self,
        session: Any,
        config: GemmaConfig,
        limits: SessionLimits,
        device: Device,
        of_device: DeviceLimits,
    ) -> None:
        self._session = session
        self._limits = limits
        self._device = device
        self._cuda_graphs = of_device.cuda_graphs
        rows, self.vocab_size = limits.rows_max, config.vocab_size
        shape = kv_cache_shape(config, rows=rows, tokens=limits.context_tokens)
        element = element_of(session, "past.0.key")
        values, self._logits = device.zeros(
            [(shape, element), ((rows, config.vocab_size), TensorProto.FLOAT)]
        )
        self.kv_cache = DeviceKvCache(
            values,
            device,
            kept_bytes_max=of_device.kept_bytes_max,
            chunk_tokens=limits.chunk_tokens,
        )
        # The most tokens in a row: the rotary tables have no further positions.
        self._longest = min(self.kv_cache.tokens, config.positions_max)
        self._sampler = DeviceSampler(device, vocab_size=self.vocab_size, rows_max=rows)
        self._sizes = _doubling(rows)
        self.rows_together = True
        self._chunks: dict[tuple[int, int], _Binding] = {}
        # Never dropped: a captured step reads its inputs from the same addresses for ever.
        self._steps: dict[tuple[int, int], _Binding] = {}

    @property
    def step_sizes(self) -> tuple[int, ...]:
        """The numbers of rows that a decode step may have."""
        return tuple(self._sizes)

    @property
    def limits(self) -> SessionLimits:
        return self._limits

    def prefill(self, row: int, ids: Sequence[int], first: int, last: int) -> Region:
        tokens = last - first
        binding = self._chunks.get((row, tokens))
        if binding is None:
            if len(self._chunks) >= _BINDINGS_MAX:
                self._chunks.clear()
            binding = self._chunks[row, tokens] = self._bound(row, 1, tokens, captured=False)
        self._run(binding, np.array([ids[first:last]], np.int64), np.array([first]), total=last)
        self.kv_cache.lengths[row] = last
        return self._logits.rows(row, 1)

    def decode(self, token_ids: Sequence[int], lengths: Sequence[int]) -> Region:
        if self.rows_together:
            self._step(0, token_ids, lengths)
        else:
            for row, (token, length) in enumerate(zip(token_ids, lengths, strict=True)):
                self._step(row, [token], [length])
        return self._logits.rows(0, len(token_ids))

    def decode_row(self, row: int, token_id: int, length: int) -> Region:
        self._step(row, [token_id], [length])
        return self._logits.rows(row, 1)

    def pick(self, logits: Region, samplers: Sequence[Sampler]) -> list[int | None]:
        return self._sampler.pick(logits, samplers)

    def fetch(self, logits: Region) -> NDArray[np.float32]:
        """The logits copied to the host, for tests and checks."""
        return self._sampler.fetch(logits)

    def check_row_independence(self, token: int, length: int) -> bool:
        rows = self._limits.rows_max
        for sizes in (_doubling(rows), [rows]):
            self._sizes = sizes
            if self._are_rows_independent(token, length):
                _log.info("decoding steps have %s rows", " or ".join(map(str, sizes)))
                return True
        self._sizes, self.rows_together = [1], False
        return False

    def _are_rows_independent(self, token: int, length: int) -> bool:
        alone = self.fetch(self.decode_row(0, token, length))
        for rows in sorted({min(2, self._limits.rows_max), *self._sizes}):
            lengths = [length, *(row % length for row in range(1, rows))]
            if rows > 1:
                # The last row gets a copy of row 0.
                self.kv_cache.move(0, rows - 1, length)
                lengths[-1] = length
            found = self.fetch(self.decode([token] * rows, lengths))
            if not (found[[0, -1]] == alone).all():
                return False
        return True

    def _step(self, first: int, token_ids: Sequence[int], lengths: Sequence[int]) -> None:
        """A decode step of rows from `first` on, with further rows up to a size that steps may
        have. The further rows write behind their last token, and their own next step writes there
        again."""
        count = len(token_ids)
        size = next(size for size in self._sizes if size >= count)
        start = min(first, self._limits.rows_max - size)
        mine = slice(first - start, first - start + count)
        ids = np.zeros((size, 1), np.int64)
        ids[mine, 0] = token_ids
        before = np.array(self.kv_cache.lengths[start : start + size])
        before[mine] = lengths
        binding = self._steps.get((start, size))
        if binding is None:
            binding = self._bound(start, size, 1, captured=self._cuda_graphs and start == 0)
            self._steps[start, size] = binding
        # The longest possible row, because the longest of the batch is another row's.
        self._run(binding, ids, before, total=self._longest)
        self.kv_cache.lengths[first : first + count] = [length + 1 for length in lengths]

    def _run(
        self, binding: "_Binding", ids: NDArray[np.int64], before: NDArray[np.int64], *, total: int
    ) -> None:
        tokens = ids.shape[1]
        assert before.max() + tokens <= self._longest, "prompts are cut to the window before"
        binding.ids.set(ids)
        binding.seqlens.set((before + tokens - 1).astype(np.int32))
        binding.total[...] = total
        self._session.run_with_iobinding(binding.io, binding.options)

    def _bound(self, first_row: int, rows: int, tokens: int, *, captured: bool) -> "_Binding":
        import onnxruntime

        device, io = self._device, self._session.io_binding()
        binding = _Binding(
            io=io,
            options=onnxruntime.RunOptions(),
            ids=device.input(np.zeros((rows, tokens), np.int64)),
            seqlens=device.input(np.zeros(rows, np.int32)),
            wanted=device.input(np.array([(row, tokens - 1) for row in range(rows)], np.int64)),
            total=np.zeros((), np.int32),
        )
        io.bind_ortvalue_input("input_ids", binding.ids.value)
        io.bind_ortvalue_input("seqlens_k", binding.seqlens.value)
        io.bind_ortvalue_input("logits_at", binding.wanted.value)
        # The attention operator reads it on the host.
        io.bind_cpu_input("total_sequence_length", binding.total)
        for place, region in enumerate(self.kv_cache.caches(first_row, rows)):
            device.bind_input(io, kv_name("past", place), region)
            device.bind_output(io, kv_name("present", place), region)
        device.bind_output(io, "logits", self._logits.rows(first_row, rows))
        if self._cuda_graphs:
            graph = str(rows) if captured else _NEVER_CAPTURED
            binding.options.add_run_config_entry("gpu_graph_id", graph)
        return binding


@dataclass(frozen=True, kw_only=True)
class _Binding:
    """Inputs and outputs of all steps of one shape. Bound once; then written in place."""

    io: Any
    options: Any
    ids: Any
    seqlens: Any
    wanted: Any
    total: NDArray[np.int32]


def _doubling(most: int) -> list[int]:
    sizes = [1]
    while sizes[-1] < most:
        sizes.append(min(2 * sizes[-1], most))
    return sizes
