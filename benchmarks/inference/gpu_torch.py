"""Gemma 3 in plain torch, to compare the numbers and the speed of our graphs with on a GPU.

Written from the architecture (Gemma 3 technical report), eager, with keys and values in buffers
of fixed size, so that nothing but the model itself is timed.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as nn
from numpy.typing import NDArray

from infrastructure.inference.prepared.config import GemmaConfig, ModelWeights
from infrastructure.inference.preparing.safetensors_weights import tensor_shapes


class TorchGemma:
    """dtype: of weights, activations, keys and values; norms and rotation are in float32."""

    def __init__(
        self, source: ModelWeights, *, device: str, dtype: Any, rows: int, tokens: int
    ) -> None:
        self._config = config = source.config
        self._device, self._dtype = device, dtype
        self._weights = {}
        for name in tensor_shapes(config):
            kind = torch.float32 if name.endswith("norm") else dtype
            self._weights[name] = torch.from_numpy(source.tensor(name)).to(device, kind)
        shape = (config.layers, 2, rows, config.kv_heads, tokens, config.head_dim)
        self._cache = torch.zeros(shape, dtype=dtype, device=device)
        self._past = 0
        self._rope = {full: self._rotation(tokens, full=full) for full in (True, False)}

    def forget(self) -> None:
        self._past = 0

    def step(self, ids: NDArray[np.int64]) -> Any:
        """int64[rows, tokens] to a tensor [rows, vocab] on the device."""
        with torch.inference_mode():
            return self._step(ids)

    def _step(self, ids: NDArray[np.int64]) -> Any:
        config, given = self._config, torch.from_numpy(ids).to(self._device)
        table = self._weights["embedding"]
        scale = torch.tensor(config.embedding_scale, dtype=self._dtype)
        stream = table[given] * scale.to(self._device)
        for layer in range(config.layers):
            stream = self._layer(layer, stream)
        self._past += ids.shape[1]
        return nn.linear(self._norm(stream[:, -1], "final_norm"), table).float()

    def _layer(self, layer: int, stream: Any) -> Any:
        at = f"layers.{layer}"
        mixed = self._attention(layer, self._norm(stream, f"{at}.attention_norm"))
        stream = stream + self._norm(mixed, f"{at}.attention_post_norm")
        normed = self._norm(stream, f"{at}.ffn_norm")
        gate = nn.gelu(self._linear(normed, f"{at}.gate"), approximate="tanh")
        out = self._linear(gate * self._linear(normed, f"{at}.up"), f"{at}.down")
        return stream + self._norm(out, f"{at}.ffn_post_norm")

    def _attention(self, layer: int, normed: Any) -> Any:
        config, at = self._config, f"layers.{layer}"
        rows, count = normed.shape[:2]
        first, last = self._past, self._past + count

        def by_head(part: str, heads: int) -> Any:
            return self._linear(normed, f"{at}.{part}").view(rows, count, heads, config.head_dim)

        full = config.is_full_attention(layer)
        query = self._norm(by_head("q", config.heads), f"{at}.q_norm")
        key = self._norm(by_head("k", config.kv_heads), f"{at}.k_norm")
        cosines, sines = (table[first:last] for table in self._rope[full])
        query, key = _rotate(query, cosines, sines), _rotate(key, cosines, sines)
        keys, values = self._cache[layer]
        keys[:, :, first:last] = key.transpose(1, 2)
        values[:, :, first:last] = by_head("v", config.kv_heads).transpose(1, 2)
        begin = 0 if full else max(0, first + 1 - config.sliding_window)
        mask = None
        if count > 1:
            distance = torch.arange(first, last)[:, None] - torch.arange(begin, last)
            seen = (distance >= 0) & (full | (distance < config.sliding_window))
            mask = seen.to(self._device)
        mixed = nn.scaled_dot_product_attention(
            query.transpose(1, 2),
            keys[:, :, begin:last],
            values[:, :, begin:last],
            attn_mask=mask,
            scale=config.attention_scale,
            enable_gqa=True,
        )
        return self._linear(mixed.transpose(1, 2).reshape(rows, count, -1), f"{at}.o")

    def _linear(self, value: Any, name: str) -> Any:
        return nn.linear(value, self._weights[name])

    def _norm(self, value: Any, name: str) -> Any:
        wide = value.float()
        mean = wide.pow(2).mean(-1, keepdim=True)
        normed = wide * torch.rsqrt(mean + self._config.norm_epsilon)
        return (normed * self._weights[name]).to(self._dtype)

    def _rotation(self, tokens: int, *, full: bool) -> tuple[Any, Any]:
        config: GemmaConfig = self._config
        base = config.rope_base_global if full else config.rope_base_local
        factor = config.rope_factor_global if full else 1.0
        powers = torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim
        angles = torch.outer(torch.arange(tokens) / factor, base**-powers).float()
        return angles.cos().to(self._device), angles.sin().to(self._device)


def _rotate(values: Any, cosines: Any, sines: Any) -> Any:
    """Rotary embedding of [rows, tokens, heads, size]; the first half of each vector is paired with
    the second."""
    first, second = values.float().chunk(2, -1)
    cosines, sines = cosines[:, None], sines[:, None]
    turned = [first * cosines - second * sines, second * cosines + first * sines]
    return torch.cat(turned, -1).to(values.dtype)
