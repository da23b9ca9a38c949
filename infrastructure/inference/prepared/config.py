"""The shape of a Gemma 3 text model, the format of its graph, and the port to its weights.

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

# In Gemma 3, five layers with a sliding window are followed by one with full attention.
FULL_ATTENTION_EVERY = 6
ROPE_BASE_LOCAL = 10_000.0


class Precision(StrEnum):
    """The numbers of the weights."""

    INT8 = "int8"
    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT4 = "int4"


class Provider(StrEnum):
    """The ONNX Runtime provider that a graph is made for."""

    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True, kw_only=True)
class GraphFormat:
    """The precision of a graph, and the provider that it is made for. fp16 and bf16 are for CUDA,
    fp32 for the CPU (on CUDA attention takes only 16-bit numbers), int8 and int4 for either.

    Raises ValueError if the provider has no kernels for the precision.
    """

    weights: Precision
    provider: Provider

    def __post_init__(self) -> None:
        allowed = [provider for provider in Provider if has_kernels(self.weights, provider)]
        if self.provider not in allowed:
            raise ValueError(
                f"{self.weights} graphs are for {allowed[0].upper()}, not for"
                f" {self.provider.upper()}"
            )

    @classmethod
    def of(
        cls, weights: Precision | None = None, provider: Provider | None = None
    ) -> "GraphFormat":
        """Without a provider: the CPU if it can, else CUDA. Without weights: int8, bf16 on CUDA."""
        if weights is None:
            weights = Precision.BF16 if provider is Provider.CUDA else Precision.INT8
        first = next(known for known in Provider if has_kernels(weights, known))
        return cls(weights=weights, provider=provider or first)

    def __str__(self) -> str:
        return f"{self.weights} for {self.provider.upper()}"

    @property
    def quantized(self) -> bool:
        return self.weights in (Precision.INT8, Precision.INT4)

    @property
    def activations(self) -> str:
        """numpy's name for the type of the activations, and of keys and values."""
        if self.weights is Precision.FP16:
            return "float16"
        return "float32" if self.provider is Provider.CPU else "bfloat16"

    @property
    def activation_bytes(self) -> int:
        return 4 if self.activations == "float32" else 2

    @property
    def stream(self) -> str:
        """The type of the residual stream, whose numbers in Gemma 3 exceed float16's 65,504."""
        return "float32" if self.activations == "float16" else self.activations


def has_kernels(weights: Precision, provider: Provider) -> bool:
    """Whether the provider can run graphs with such weights."""
    if weights in (Precision.FP16, Precision.BF16):
        return provider is Provider.CUDA
    return weights is not Precision.FP32 or provider is Provider.CPU


@dataclass(frozen=True, kw_only=True)
class GemmaConfig:
    """Sizes are in elements, windows in tokens.

    full_attention_every: layer i has full attention if (i + 1) is a multiple of it.
    sliding_window: tokens a sliding layer sees, the current one included.
    attention_scale: what q·k is multiplied by (query_pre_attn_scalar ** -0.5).
    rope_factor_global: linear position scaling of full-attention layers (8 from 4B on).
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
        """Float32 keys and values of one token in all layers."""
        return 2 * self.layers * self.kv_heads * self.head_dim * 4

    def is_full_attention(self, layer: int) -> bool:
        return (layer + 1) % self.full_attention_every == 0


class ModelWeights(Protocol):
    """A model's weights as float32. Tensors are read one at a time, so the model is never whole in
    memory.

    Names: "embedding" [vocab, hidden], "final_norm" [hidden] and, under "layers.<i>.",
    "attention_norm", "q" [heads*head_dim, hidden], "k", "v" [kv_heads*head_dim, hidden],
    "q_norm", "k_norm" [head_dim], "o" [hidden, heads*head_dim], "attention_post_norm",
    "ffn_norm", "gate", "up" [ffn, hidden], "down" [hidden, ffn], "ffn_post_norm".
    A norm's weights are the factors that are applied, that is 1 + w for w of the checkpoint.
    """

    @property
    def config(self) -> GemmaConfig: ...

    def tensor(self, name: str) -> NDArray[np.float32]: ...

    def row_blocks(self, name: str, rows: int) -> Iterator[NDArray[np.float32]]:
        """The rows of a matrix in order, at most `rows` at a time."""
        ...
