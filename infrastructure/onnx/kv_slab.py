"""Keys and values of all rows of a batch in one stretch of memory.

float32[2 * layers, rows, kv_heads, tokens, head_dim]: row ranges of a layer lie together, so
any of them is bound to a session without copying. The addresses are reserved once; memory comes
page by page as tokens are written, and goes back to the system when their row is released. So
the slab grows with use in both directions without ever being moved.
"""

import mmap

import numpy as np
from numpy.typing import NDArray

from infrastructure.onnx.config import GemmaConfig

Array = NDArray[np.float32]

# Rows begin on a page of their own for every head size from 16 on, also with 64 kB pages.
_TOKENS_STEP = 256


class KvSlab:
    """For one thread only. Raises MemoryError where the system refuses the addresses."""

    def __init__(self, config: GemmaConfig, *, rows: int, tokens: int) -> None:
        tokens = -(-tokens // _TOKENS_STEP) * _TOKENS_STEP
        shape = (2 * config.layers, rows, config.kv_heads, tokens, config.head_dim)
        self._region = _reserve(4 * int(np.prod(shape)))
        self.values: Array = np.frombuffer(self._region, np.float32).reshape(shape)

    @property
    def rows(self) -> int:
        return int(self.values.shape[1])

    def move(self, source: int, target: int, tokens: int) -> None:
        """Copy a row's first tokens over another row."""
        self.values[:, target, :, :tokens] = self.values[:, source, :, :tokens]

    def read(self, row: int, first: int, last: int) -> Array:
        """A copy, float32[2 * layers, kv_heads, last - first, head_dim]."""
        return self.values[:, row, :, first:last].copy()

    def write(self, row: int, first: int, block: Array) -> None:
        self.values[:, row, :, first : first + block.shape[2]] = block

    def give_back(self, row: int) -> None:
        """The row holds nothing any more; where the system can, its memory is free at once."""
        if not hasattr(mmap, "MADV_DONTNEED"):
            return
        size = self.values[0, 0].nbytes
        for layer in range(len(self.values)):
            self._region.madvise(mmap.MADV_DONTNEED, (layer * self.rows + row) * size, size)


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
