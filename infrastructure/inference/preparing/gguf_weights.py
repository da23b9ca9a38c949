"""Gemma 3 weights from a GGUF file, under the names of `ModelWeights`.

llama.cpp's converter stores norm weights with 1 already added, so they are passed on unchanged.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from infrastructure.inference.prepared.config import GemmaConfig
from infrastructure.inference.prepared.errors import ModelFileDamaged
from infrastructure.inference.preparing.gguf_file import GgufFile

_TOP = {"embedding": "token_embd.weight", "final_norm": "output_norm.weight"}
_LAYER = {
    "attention_norm": "attn_norm",
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "q_norm": "attn_q_norm",
    "k_norm": "attn_k_norm",
    "o": "attn_output",
    "attention_post_norm": "post_attention_norm",
    "ffn_norm": "ffn_norm",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
    "ffn_post_norm": "post_ffw_norm",
}


class GgufWeights:
    """A `ModelWeights`. positions_max: the longest sequence that the graph has to take."""

    def __init__(self, file: GgufFile, *, positions_max: int) -> None:
        self._file = file
        self._config = _config(file, positions_max)

    @property
    def config(self) -> GemmaConfig:
        return self._config

    def tensor(self, name: str) -> NDArray[np.float32]:
        return self._file.tensor(_stored_name(name))

    def row_blocks(self, name: str, rows: int) -> Iterator[NDArray[np.float32]]:
        return self._file.row_blocks(_stored_name(name), rows)


def _stored_name(name: str) -> str:
    if name in _TOP:
        return _TOP[name]
    _, layer, part = name.split(".")
    return f"blk.{layer}.{_LAYER[part]}.weight"


def _config(file: GgufFile, positions_max: int) -> GemmaConfig:
    architecture = file.scalars.get("general.architecture")
    if architecture != "gemma3":
        raise ModelFileDamaged(file.path, f"it holds a model of kind {architecture!r}, not gemma3")

    def number(key: str, default: float | None = None) -> float:
        return file.number(f"gemma3.{key}", default)

    head_dim = int(number("attention.key_length"))
    vocab_size, hidden_size = file.shape(_TOP["embedding"])
    return GemmaConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        layers=int(number("block_count")),
        heads=int(number("attention.head_count")),
        kv_heads=int(number("attention.head_count_kv")),
        head_dim=head_dim,
        feed_forward_size=int(number("feed_forward_length")),
        # GGUF keeps 1e-6 as float32, which prints as 9.99999997e-07.
        norm_epsilon=float(f"{number('attention.layer_norm_rms_epsilon'):.6g}"),
        sliding_window=int(number("attention.sliding_window")),
        attention_scale=head_dim**-0.5,
        rope_base_global=number("rope.freq_base", 1_000_000.0),
        rope_factor_global=number("rope.scaling.factor", 1.0),
        positions_max=min(positions_max, int(number("context_length"))),
    )
