"""Gemma 3 of any size with random weights, made tensor by tensor without a download."""

import zlib
from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from infrastructure.inference.prepared.catalogue import BY_NAME
from infrastructure.inference.prepared.config import GemmaConfig
from infrastructure.inference.preparing.safetensors_weights import tensor_shapes

# Every tensor reads from one pool of random numbers, as drawing 12e9 of them takes minutes. Its
# size is no multiple of any width, so that no two rows of a matrix are the same.
_POOL = 16_777_259
_VOCAB = 262_144
_WINDOWS = {"gemma3-1b": 512, "gemma3-4b": 1024, "gemma3-12b": 1024}

TINY = GemmaConfig(
    vocab_size=512,
    hidden_size=128,
    layers=3,
    heads=4,
    kv_heads=2,
    head_dim=32,
    feed_forward_size=256,
    norm_epsilon=1e-6,
    sliding_window=16,
    attention_scale=32**-0.5,
    rope_base_global=1_000_000.0,
    rope_factor_global=8.0,
    positions_max=256,
    full_attention_every=3,
)


def config_of(name: str, *, layers: int | None = None, positions_max: int = 4096) -> GemmaConfig:
    """The configuration of a model of the catalogue; layers: fewer than the model has."""
    shape = BY_NAME[name].shape
    assert shape is not None, f"{name} has no shape in the catalogue"
    return GemmaConfig(
        vocab_size=_VOCAB,
        hidden_size=shape.hidden_size,
        layers=layers or shape.layers,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        feed_forward_size=shape.feed_forward_size,
        norm_epsilon=1e-6,
        sliding_window=_WINDOWS[name],
        attention_scale=shape.head_dim**-0.5,
        rope_base_global=1_000_000.0,
        rope_factor_global=1.0 if name == "gemma3-1b" else 8.0,
        positions_max=positions_max,
    )


class RandomWeights:
    """A `ModelWeights`. Matrices keep the size of what passes through them; norms are near 1."""

    def __init__(self, config: GemmaConfig, *, seed: int = 3) -> None:
        self._config = config
        self._seed = seed
        self._shapes = tensor_shapes(config)

    @property
    def config(self) -> GemmaConfig:
        return self._config

    @cached_property
    def _pool(self) -> NDArray[np.float32]:
        draw = np.random.default_rng(self._seed)
        return draw.standard_normal(_POOL, np.float32)

    def tensor(self, name: str) -> NDArray[np.float32]:
        shape = self._shapes[name]
        return self._rows(name, 0, shape[0]).reshape(shape)

    def row_blocks(self, name: str, rows: int) -> Iterator[NDArray[np.float32]]:
        count, width = self._shapes[name]
        for first in range(0, count, rows):
            yield self._rows(name, first, min(rows, count - first)).reshape(-1, width)

    def _rows(self, name: str, first: int, count: int) -> NDArray[np.float32]:
        shape = self._shapes[name]
        width = int(np.prod(shape[1:]))
        start = (zlib.crc32(name.encode()) + first * width) % _POOL
        wanted, parts = count * width, []
        while wanted > 0:
            part = self._pool[start : start + wanted]
            parts.append(part)
            wanted, start = wanted - len(part), 0
        values = np.concatenate(parts)
        if name.endswith("norm"):
            return 1 + np.float32(0.1) * values
        return values * np.float32(0.05 if name == "embedding" else width**-0.5)
