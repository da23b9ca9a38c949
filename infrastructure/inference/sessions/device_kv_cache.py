"""The KV cache of a batch in the device's memory.

[2 * layers, rows, kv_heads, tokens, head_dim] in the graph's type. The rows of a layer lie one
after the other, so any range of them can be bound to a session by its address. All of it is
allocated when a model is loaded: a device does not allocate pages on use, and the addresses must
not change once a step has been captured.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infrastructure.inference.sessions.device import Device, Region, element_bytes
from infrastructure.inference.sessions.device_graphs import read_graph, write_graph
from infrastructure.inference.sessions.kv_layout import TOKENS_STEP
from infrastructure.inference.sessions.needs import (
    COPIES,
    MOVED_BYTES_MAX,
    copied_bytes,
)


@dataclass(frozen=True, kw_only=True)
class DeviceKvBlock:
    """A `KvBlock`. value: an OrtValue on the device, int64[stretches, words]."""

    value: Any
    tokens: int

    @property
    def nbytes(self) -> int:
        return int(self.value.tensor_size_in_bytes())


class DeviceKvCache:
    """A `KvCache`. For one thread only.

    lengths: tokens in each row; what lies behind them is old and never read.
    kept_bytes_max: device memory for the blocks that the prefix cache keeps. chunk_tokens: the
    most tokens in one of them. moved_bytes_max: the most that a move copies at once.
    """

    def __init__(
        self,
        region: Region,
        device: Device,
        *,
        kept_bytes_max: int,
        chunk_tokens: int,
        moved_bytes_max: int = MOVED_BYTES_MAX,
    ) -> None:
        self._device = device
        self._region = region
        self._layers, self._rows, self._heads, self._tokens, width = region.shape
        self._token_words = width * element_bytes(region.element) // 8
        self.lengths = [0] * self._rows
        token_bytes = self.bytes_per_token
        moved_bytes = copied_bytes(token_bytes, 0, moved_bytes_max)
        piece_bytes = copied_bytes(token_bytes, chunk_tokens, moved_bytes_max)
        self._moved_tokens = moved_bytes // token_bytes
        self._read = device.session(
            read_graph(), arena_bytes=kept_bytes_max + (COPIES - 1) * piece_bytes
        )
        self._write = device.session(write_graph(), arena_bytes=piece_bytes)

    @property
    def rows(self) -> int:
        return self._rows

    @property
    def bytes_per_token(self) -> int:
        return self._layers * self._heads * self._token_words * 8

    @property
    def tokens(self) -> int:
        return self._tokens

    def caches(self, first_row: int, rows: int) -> Iterator[Region]:
        """Some rows of each part: keys of the first layer, its values, keys of the second, …"""
        for place in range(self._layers):
            yield self._region.part(place).rows(first_row, rows)

    def move(self, source: int, target: int, tokens: int) -> None:
        last = -(-tokens // TOKENS_STEP) * TOKENS_STEP
        cuts = [*range(0, last, self._moved_tokens), last]
        for first, end in pairwise(cuts):
            self.write(target, first, self.read(source, first, end))
        self.lengths[target] = tokens

    def read(self, row: int, first: int, last: int) -> DeviceKvBlock:
        memory, places = self._stretches(row, first, last)
        io = self._read.io_binding()
        self._device.bind_input(io, "memory", memory)
        io.bind_cpu_input("places", places)
        io.bind_output("block", self._device.name, 0)
        self._read.run_with_iobinding(io)
        return DeviceKvBlock(value=io.get_outputs()[0], tokens=last - first)

    def write(self, row: int, first: int, block: DeviceKvBlock) -> None:
        memory, places = self._stretches(row, first, first + block.tokens)
        io = self._write.io_binding()
        self._device.bind_input(io, "memory", memory)
        io.bind_cpu_input("places", places[:, None])
        io.bind_ortvalue_input("block", block.value)
        self._device.bind_output(io, "changed", memory)
        self._write.run_with_iobinding(io)
        self.lengths[row] = first + block.tokens

    def trim(self, row: int, tokens: int) -> None:
        """Does nothing: the memory stays allocated."""

    def release(self, row: int) -> None:
        self.lengths[row] = 0

    def _stretches(self, row: int, first: int, last: int) -> tuple[Region, NDArray[np.int64]]:
        """The cache as int64[stretches, words], and the indices of those with these tokens."""
        tokens = gcd(first, last, TOKENS_STEP)
        heads = np.arange(self._layers)[:, None] * self._rows + row
        heads = heads * self._heads + np.arange(self._heads)
        within = np.arange(first // tokens, last // tokens)
        places = heads[:, :, None] * (self._tokens // tokens) + within
        return self._region.words(tokens * self._token_words), places.reshape(-1)
