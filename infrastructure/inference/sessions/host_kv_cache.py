"""Keys and values of all rows of a batch in one stretch of memory.

float32[2 * layers, rows, kv_heads, tokens, head_dim]: row ranges of a layer lie together, so
any of them is bound to a session without copying. The addresses are reserved once; memory comes
page by page as tokens are written, and goes back to the system when their row is released, in
sliding layers already when a token has left the window. So the slab grows with use in both
directions without ever being moved.
"""

import mmap
import sys

import numpy as np
from numpy.typing import NDArray

from infrastructure.inference.prepared.config import GemmaConfig

Array = NDArray[np.float32]

# Rows begin on a page of their own for every head size from 16 on, also with 64 kB pages.
_TOKENS_STEP = 256
# Only on Linux does the advice free private memory at once and leave zeros.
_CAN_GIVE_BACK = sys.platform == "linux"


class HostKvCache:
    """For one thread only. Raises MemoryError where the system refuses the addresses."""

    def __init__(self, config: GemmaConfig, *, rows: int, tokens: int) -> None:
        tokens = -(-tokens // _TOKENS_STEP) * _TOKENS_STEP
        shape = (2 * config.layers, rows, config.kv_heads, tokens, config.head_dim)
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
        """Put a row of so many tokens in the place of another one, whose content is lost."""
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
        """Give back what sliding layers can no longer see in a row of so many tokens."""
        for layer in range(len(self.values)):
            last = self._first_needed(layer, tokens)
            for head in range(self.values.shape[2] if last else 0):
                self._free(self.values[layer, row, head, :last])

    def release(self, row: int) -> None:
        """The row holds nothing any more; where the system can, its memory is free at once."""
        for values in self.values:
            self._free(values[row])

    def _first_needed(self, layer: int, tokens: int) -> int:
        """The first token that the next one can see, rounded down to where a page begins."""
        window = self._windows[layer]
        if window is None or not _CAN_GIVE_BACK:
            return 0
        page_tokens = max(1, mmap.PAGESIZE // (4 * int(self.values.shape[4])))
        return max(0, tokens - window) // page_tokens * page_tokens

    def _free(self, part: Array) -> None:
        """A contiguous part from page to page; it reads as zeros from now on."""
        if _CAN_GIVE_BACK and part.nbytes:
            offset = part.ctypes.data - self.values.ctypes.data
            self._region.madvise(mmap.MADV_DONTNEED, offset, part.nbytes)


def _reserve(size: int) -> mmap.mmap:
    try:
        if not hasattr(mmap, "MAP_PRIVATE"):
            return mmap.mmap(-1, size)
        # Private: shared anonymous memory would be kept by the system until the process ends.
        region = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"no address space for {size} bytes of keys and values") from error
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        # A huge page would take 2 MB in each layer for the first token of a row.
        region.madvise(mmap.MADV_NOHUGEPAGE)
    return region
