"""The KV cache of a batch in the host's memory.

float32[2 * layers, rows, kv_heads, tokens, head_dim]: the rows of a layer lie one after the other,
so any range of them can be bound to a session without a copy. The addresses are reserved once. The
system adds memory page by page as tokens are written. It gets the pages back when their row is
released, and in sliding layers as soon as the tokens have left the window. So the cache grows and
shrinks with its use and never moves.
"""

import mmap
import sys

import numpy as np
from numpy.typing import NDArray

from infrastructure.inference.prepared.config import GemmaConfig
from infrastructure.inference.sessions.kv_layout import kv_cache_shape

Array = NDArray[np.float32]

# Only on Linux does MADV_DONTNEED free private memory at once and leave zeros.
_CAN_FREE_PAGES = sys.platform == "linux"


class HostKvCache:
    """A `KvCache`. For one thread only. Raises MemoryError if the system refuses the addresses."""

    def __init__(self, config: GemmaConfig, *, rows: int, tokens: int) -> None:
        shape = kv_cache_shape(config, rows=rows, tokens=tokens)
        self._region = _reserve(4 * int(np.prod(shape)))
        self._windows = [
            None if config.is_full_attention(layer) else config.sliding_window
            for layer in range(config.layers)
            for _ in ("key", "value")
        ]
        self.values: Array = np.frombuffer(self._region, np.float32).reshape(shape)

    @property
    def rows(self) -> int:
        return int(self.values.shape[1])

    def move(self, source: int, target: int, tokens: int) -> None:
        self.release(target)
        for layer, values in enumerate(self.values):
            first = self._first_needed(layer, tokens)
            values[target, :, first:tokens] = values[source, :, first:tokens]

    def read(self, row: int, first: int, last: int) -> Array:
        """A copy, float32[2 * layers, kv_heads, last - first, head_dim]."""
        return self.values[:, row, :, first:last].copy()

    def write(self, row: int, first: int, block: Array) -> None:
        self.values[:, row, :, first : first + block.shape[2]] = block

    def trim(self, row: int, tokens: int) -> None:
        """Free what sliding layers can no longer see."""
        for layer in range(len(self.values)):
            last = self._first_needed(layer, tokens)
            for head in range(self.values.shape[2] if last else 0):
                self._free(self.values[layer, row, head, :last])

    def release(self, row: int) -> None:
        for values in self.values:
            self._free(values[row])

    def _first_needed(self, layer: int, tokens: int) -> int:
        """The first token that the next one can see, rounded down to a page boundary."""
        window = self._windows[layer]
        if window is None or not _CAN_FREE_PAGES:
            return 0
        page_tokens = max(1, mmap.PAGESIZE // (4 * int(self.values.shape[4])))
        return max(0, tokens - window) // page_tokens * page_tokens

    def _free(self, part: Array) -> None:
        """part: contiguous, from one page boundary to another. It reads as zeros afterwards."""
        if _CAN_FREE_PAGES and part.nbytes:
            offset = part.ctypes.data - self.values.ctypes.data
            self._region.madvise(mmap.MADV_DONTNEED, offset, part.nbytes)


def _reserve(size: int) -> mmap.mmap:
    try:
        if not hasattr(mmap, "MAP_PRIVATE"):
            return mmap.mmap(-1, size)
        # Private, because the system would keep shared memory until the process ends.
        region = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"no address space for {size} bytes of keys and values") from error
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        # With huge pages the first token of a row would take 2 MB in each layer.
        region.madvise(mmap.MADV_NOHUGEPAGE)
    return region
