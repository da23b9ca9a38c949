"""The shape of a Gemma 3 text model, and where its numbers come from.

Source of the architecture: Gemma 3 technical report (Google DeepMind, 2025) and the
`gemma3` keys of GGUF files.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

# Gemma 3 alternates five sliding layers with one that sees everything.
FULL_ATTENTION_EVERY = 6
ROPE_BASE_LOCAL = 10_000.0


class Precision(StrEnum):
    """Of the weights; activations are float32 between the layers."""

    INT8 = "int8"
    FP32 = "fp32"


@dataclass(frozen=True, kw_only=True)
class GemmaConfig:
    """Sizes are in elements, windows in tokens.

    full_attention_every: layer i sees everything when (i + 1) is a multiple of it.
    sliding_window: tokens a sliding layer sees, the current one included.
    attention_scale: what q·k is multiplied by (query_pre_attn_scalar ** -0.5).
    rope_factor_global: linear position scaling of full layers (8 on 4B and larger).
    positions_max: rows of the rotary tables, hence the longest sequence of the graph.
    """

    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward_size: int
    norm_epsilon: float
    sliding_window: int
    attention_scale: float
    rope_base_global: float
    positions_max: int
    rope_base_local: float = ROPE_BASE_LOCAL
    rope_factor_global: float = 1.0
    full_attention_every: int = FULL_ATTENTION_EVERY

    @property
    def embedding_scale(self) -> float:
        return math.sqrt(self.hidden_size)

    @property
    def kv_bytes_per_token(self) -> int:
        """Of float32 keys and values in all layers."""
        return 2 * self.layers * self.kv_heads * self.head_dim * 4

    def sees_everything(self, layer: int) -> bool:
        return (layer + 1) % self.full_attention_every == 0


class WeightSource(Protocol):
    """Weights as float32, read one at a time so that no whole model is ever in memory.

    Names: "embedding" [vocab, hidden], "final_norm" [hidden] and, under "layers.<i>.",
    "attention_norm", "q" [heads*head_dim, hidden], "k", "v" [kv_heads*head_dim, hidden],
    "q_norm", "k_norm" [head_dim], "o" [hidden, heads*head_dim], "attention_post_norm",
    "ffn_norm", "gate", "up" [ffn, hidden], "down" [hidden, ffn], "ffn_post_norm".
    Norm weights come as the factor that is applied, that is 1 + w of the checkpoint.
    """

    @property
    def config(self) -> GemmaConfig: ...

    def tensor(self, name: str) -> NDArray[np.float32]: ...

    def row_blocks(self, name: str, rows: int) -> Iterator[NDArray[np.float32]]:
        """The rows of a matrix in order, at most `rows` at a time."""
        ...
