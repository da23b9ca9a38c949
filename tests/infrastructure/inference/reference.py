"""Gemma 3's forward pass in plain numpy, written from the architecture, not from the graph.

All positions at once and without a cache; the graph must agree with it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from infrastructure.inference.prepared.config import GemmaConfig, ModelWeights

Array = NDArray[np.float32]


def reference_logits(
    source: ModelWeights, token_ids: Sequence[int], last_only: bool = False
) -> Array:
    """float32[tokens, vocab]; with last_only float32[1, vocab] of the last position."""
    config = source.config
    table = source.tensor("embedding")
    stream = table[np.asarray(token_ids)] * np.sqrt(np.float32(config.hidden_size))
    for layer in range(config.layers):
        at = f"layers.{layer}"
        normed = _norm(stream, source.tensor(f"{at}.attention_norm"), config)
        mixed = _attention(source, layer, normed)
        stream = stream + _norm(mixed, source.tensor(f"{at}.attention_post_norm"), config)
        normed = _norm(stream, source.tensor(f"{at}.ffn_norm"), config)
        gate = _gelu_tanh(normed @ source.tensor(f"{at}.gate").T)
        out = (gate * (normed @ source.tensor(f"{at}.up").T)) @ source.tensor(f"{at}.down").T
        stream = stream + _norm(out, source.tensor(f"{at}.ffn_post_norm"), config)
    if last_only:
        stream = stream[-1:]
    found: Array = _norm(stream, source.tensor("final_norm"), config) @ table.T
    return found


def _attention(source: ModelWeights, layer: int, normed: Array) -> Array:
    config, at = source.config, f"layers.{layer}"
    count = len(normed)
    query = (normed @ source.tensor(f"{at}.q").T).reshape(count, config.heads, config.head_dim)
    key = (normed @ source.tensor(f"{at}.k").T).reshape(count, config.kv_heads, config.head_dim)
    value = (normed @ source.tensor(f"{at}.v").T).reshape(key.shape)
    query = _norm(query, source.tensor(f"{at}.q_norm"), config)
    key = _norm(key, source.tensor(f"{at}.k_norm"), config)
    # Every full_attention_every-th layer sees all that came before, the others a window.
    full = (layer + 1) % config.full_attention_every == 0
    base = config.rope_base_global if full else config.rope_base_local
    factor = config.rope_factor_global if full else 1.0
    query, key = _rotate(query, base, factor), _rotate(key, base, factor)
    places = np.arange(count)
    distance = places[:, None] - places[None, :]
    visible = (distance >= 0) & ((distance < config.sliding_window) | full)
    out = np.zeros_like(query)
    for head in range(config.heads):
        group = head // (config.heads // config.kv_heads)
        scores = query[:, head] @ key[:, group].T * config.attention_scale
        scores = np.where(visible, scores, -np.inf)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        out[:, head] = weights @ value[:, group]
    mixed: Array = out.reshape(count, -1) @ source.tensor(f"{at}.o").T
    return mixed


def _norm(values: Array, weight: Array, config: GemmaConfig) -> Array:
    mean = np.mean(values.astype(np.float64) ** 2, axis=-1, keepdims=True)
    normed: Array = (values / np.sqrt(mean + config.norm_epsilon) * weight).astype(np.float32)
    return normed


def _rotate(values: Array, base: float, factor: float) -> Array:
    """The first half of each head's vector turns against its second half."""
    count, _, size = values.shape
    frequency = 1.0 / base ** (np.arange(0, size, 2) / size)
    angle = (np.arange(count) / factor)[:, None, None] * frequency
    first, second = values[..., : size // 2], values[..., size // 2 :]
    turned = np.concatenate(
        [
            first * np.cos(angle) - second * np.sin(angle),
            second * np.cos(angle) + first * np.sin(angle),
        ],
        axis=-1,
    )
    return turned.astype(np.float32)


def _gelu_tanh(values: Array) -> Array:
    inner = np.sqrt(2 / np.pi) * (values + 0.044715 * values.astype(np.float64) ** 3)
    found: Array = (0.5 * values * (1 + np.tanh(inner))).astype(np.float32)
    return found
