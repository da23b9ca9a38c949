"""Reads the config.json of a Hugging Face style folder as a `GemmaConfig`.

Missing values have the defaults of transformers' `Gemma3TextConfig`; the published files of 4B and
larger models rely on them. Anything that the graph does not compute is refused.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infrastructure.inference.prepared.config import (
    FULL_ATTENTION_EVERY,
    ROPE_BASE_LOCAL,
    GemmaConfig,
)
from infrastructure.inference.prepared.errors import SourceUnusable
from infrastructure.inference.preparing.safetensors_folder import read_json

CONFIG_FILE = "config.json"

_TEXT, _WRAPPER = "Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"
_ROPE_BASE_GLOBAL = 1_000_000.0
_SLIDING, _FULL = "sliding_attention", "full_attention"
_FULL_REMEDY = "Name a folder with unchanged Gemma 3 weights."

# What the graph takes for granted: keys, and the values that agree with it.
_TAKEN_FOR_GRANTED: dict[str, tuple[Any, ...]] = {
    "attention_bias": (None, False),
    "attn_logit_softcapping": (None,),
    "final_logit_softcapping": (None,),
    "use_bidirectional_attention": (None, False),
    "hidden_activation": (None, "gelu_pytorch_tanh"),
    "tie_word_embeddings": (None, True),
}


def read_hub_config(folder: Path, *, positions_max: int) -> GemmaConfig:
    """positions_max: the longest sequence that the graph has to take; the model's own limit holds
    as well.

    Raises SourceUnusable, which names config.json.
    """
    file = folder / CONFIG_FILE
    top = read_json(file)
    values = _text_values(file, top)
    for key, allowed in _TAKEN_FOR_GRANTED.items():
        value = values.get(key, top.get(key))
        if value not in allowed:
            raise SourceUnusable(
                file, f"it sets {key} to {value!r}, which this version does not run", _FULL_REMEDY
            )
    reader = _Reader(file, values)
    base_global, base_local, factor = _rope(reader)
    layers = reader.whole("num_hidden_layers", 26)
    config = GemmaConfig(
        vocab_size=reader.whole("vocab_size", 262_208),
        hidden_size=reader.whole("hidden_size", 2304),
        layers=layers,
        heads=reader.whole("num_attention_heads", 8),
        kv_heads=reader.whole("num_key_value_heads", 4),
        head_dim=reader.whole("head_dim", 256),
        feed_forward_size=reader.whole("intermediate_size", 9216),
        norm_epsilon=reader.number("rms_norm_eps", 1e-6),
        sliding_window=reader.whole("sliding_window", 4096),
        attention_scale=reader.number("query_pre_attn_scalar", 256) ** -0.5,
        rope_base_global=base_global,
        rope_base_local=base_local,
        rope_factor_global=factor,
        positions_max=min(positions_max, reader.whole("max_position_embeddings", 131_072)),
        full_attention_every=_full_attention_every(reader, layers),
    )
    if config.heads % config.kv_heads or config.head_dim % 2:
        raise reader.refusal("its numbers of heads, or the head size, do not fit together")
    return config


class _Reader:
    def __init__(self, file: Path, values: Mapping[str, Any]) -> None:
        self.file = file
        self.values = values

    def refusal(self, what: str) -> SourceUnusable:
        return SourceUnusable(self.file, what, _FULL_REMEDY)

    def number(self, key: str, default: float) -> float:
        return self.positive(key, self.values.get(key, default))

    def positive(self, key: str, value: Any) -> float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 < value < 1e12:
            raise self.refusal(f"{key} is {value!r}, not a positive number")
        return float(value)

    def whole(self, key: str, default: int) -> int:
        value = self.number(key, default)
        if value != int(value):
            raise self.refusal(f"{key} is {value!r}, not a whole number")
        return int(value)

    def table(self, values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        value = values.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self.refusal(f"{key} is {value!r}, not an object")
        return value


def _text_values(file: Path, top: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of the file that is about the text model."""
    kinds = top.get("architectures") or []
    kind = kinds[0] if isinstance(kinds, list) and kinds else None
    model_type = top.get("model_type")
    if kind in (None, _TEXT) and model_type == "gemma3_text":
        return top
    if kind in (None, _WRAPPER) and model_type == "gemma3":
        inner = top.get("text_config")
        if isinstance(inner, dict):
            return inner
        raise SourceUnusable(file, "its text_config is missing", _FULL_REMEDY)
    raise SourceUnusable(
        file,
        f"it describes {kind or model_type or 'no model'}, not {_TEXT} or {_WRAPPER}",
        "Name a folder with a Gemma 3 model.",
    )


def _rope(reader: _Reader) -> tuple[float, float, float]:
    """The base of full-attention layers, the base of sliding layers, and the linear factor of
    full-attention layers.

    Old files have rope_theta, rope_local_base_freq and rope_scaling (of full-attention layers);
    new ones have rope_parameters for each kind of layer.
    """
    values = reader.values
    new = reader.table(values, "rope_parameters")
    full, sliding = reader.table(new, _FULL), reader.table(new, _SLIDING)
    scaling = {**full, **reader.table(values, "rope_scaling")}
    base_global = full.get("rope_theta", values.get("rope_theta", _ROPE_BASE_GLOBAL))
    base_local = sliding.get("rope_theta", values.get("rope_local_base_freq", ROPE_BASE_LOCAL))
    if _rope_kind(sliding) != "default":
        raise reader.refusal("it scales the positions of sliding layers")
    kind = _rope_kind(scaling)
    if kind not in ("default", "linear"):
        raise reader.refusal(f"it scales positions by {kind!r}, only linear scaling is run")
    factor = scaling.get("factor") if kind == "linear" else 1.0
    return (
        reader.positive("rope_theta", base_global),
        reader.positive("rope_local_base_freq", base_local),
        reader.positive("the rope's factor", factor),
    )


def _rope_kind(scaling: Mapping[str, Any]) -> Any:
    return scaling.get("rope_type", scaling.get("type", "default"))


def _full_attention_every(reader: _Reader, layers: int) -> int:
    """From layer_types if they are listed, else from sliding_window_pattern."""
    kinds = reader.values.get("layer_types")
    if kinds is None:
        pattern = reader.values.get(
            "sliding_window_pattern", reader.values.get("_sliding_window_pattern")
        )
        every = FULL_ATTENTION_EVERY if pattern is None else pattern
        return int(reader.positive("sliding_window_pattern", every))
    if not isinstance(kinds, list) or len(kinds) != layers:
        raise reader.refusal(f"layer_types does not name {layers} layers")
    every = kinds.index(_FULL) + 1 if _FULL in kinds else layers + 1
    expected = [_SLIDING if (layer + 1) % every else _FULL for layer in range(layers)]
    if kinds != expected:
        raise reader.refusal("its layer_types follow no regular pattern of sliding and full layers")
    return every
