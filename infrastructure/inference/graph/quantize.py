"""Symmetric int8 and int4 weights in blocks along the input dimension, as MatMulNBits reads them.

Source of the layout: MatMulNBits in ContribOperators.md of ONNX Runtime.
"""

import numpy as np
from numpy.typing import NDArray

# With blocks of 128 a row's result depended on its batch; blocks of 32 were 12% slower.
BLOCK = 64
ZERO_POINT = 128
# Four bits are coarser, so fewer weights share a scale.
BLOCK_INT4 = 32
ZERO_POINT_INT4 = 8


def quantize_rows(
    rows: NDArray[np.float32], block: int = BLOCK
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """From float32[n, k] to uint8[n, k] (int8 + 128) and scales float32[n, k/block].

    k must be a multiple of the block. A value is (stored - 128) * its block's scale.
    """
    count, width = rows.shape
    assert width % block == 0, "only whole blocks are quantised; sources are checked before"
    blocks = rows.reshape(count, width // block, block)
    scales = np.maximum(blocks.max(axis=2), -blocks.min(axis=2)) / np.float32(127)
    inverse = np.divide(1.0, scales, out=np.zeros_like(scales), where=scales > 0)
    levels = blocks * inverse[:, :, None]
    np.rint(levels, out=levels)
    levels += ZERO_POINT
    return levels.astype(np.uint8).reshape(count, width), scales


def quantize_rows_int4(
    rows: NDArray[np.float32], block: int = BLOCK_INT4
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """From float32[n, k] to uint8[n, k/2] (two int4 + 8, the first in the low half) and scales
    float32[n, k/block].

    A value is (stored - 8) * its block's scale. The scale's sign is chosen so that the value
    furthest from zero becomes -8: int4 has -8 but no +8.
    """
    count, width = rows.shape
    assert width % block == 0, "only whole blocks are quantised; sources are checked before"
    blocks = rows.reshape(count, width // block, block)
    largest, smallest = blocks.max(axis=2), blocks.min(axis=2)
    scales = np.where(largest > -smallest, largest, smallest) / np.float32(-8)
    inverse = np.divide(1.0, scales, out=np.zeros_like(scales), where=scales != 0)
    levels = blocks * inverse[:, :, None]
    np.rint(levels, out=levels)
    levels += ZERO_POINT_INT4
    np.clip(levels, 0, 15, out=levels)
    pairs = levels.astype(np.uint8).reshape(count, width // 2, 2)
    return pairs[:, :, 0] | pairs[:, :, 1] << 4, scales
