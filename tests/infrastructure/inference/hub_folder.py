"""A folder laid out as model hubs do, with the tiny model's random weights."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from infrastructure.inference.prepared.catalogue import CatalogueEntry, ModelShape
from infrastructure.inference.prepared.config import GemmaConfig
from infrastructure.inference.prepared.versions import TURNS_TEMPLATE_VERSION
from tests.infrastructure.inference.tiny import TINY, TinyWeights, write_tiny_tokenizer

NAME = "gemma3-1b"
Layout = Literal["text", "old wrapper", "new wrapper"]

# Three layers a period; head_dim differs from hidden / heads, and the scale from head_dim.
CONFIG: GemmaConfig = replace(
    TINY,
    layers=7,
    head_dim=32,
    kv_heads=1,
    full_attention_every=3,
    attention_scale=48**-0.5,
    rope_factor_global=8.0,
    positions_max=512,
)

_PREFIXES = {
    "text": "model.",
    "old wrapper": "language_model.model.",
    "new wrapper": "model.language_model.",
}
_PARTS = {
    "attention_norm": "input_layernorm",
    "attention_post_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "ffn_post_norm": "post_feedforward_layernorm",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}


def entry_for(config: GemmaConfig = CONFIG) -> CatalogueEntry:
    return CatalogueEntry(
        name=NAME,
        title="Gemma 3 1B",
        context_tokens=4096,
        positions_max=512,
        shape=ModelShape.of(config),
        template_version=TURNS_TEMPLATE_VERSION,
    )


def write_hub_folder(
    folder: Path,
    *,
    config: GemmaConfig = CONFIG,
    layout: Layout = "text",
    dtype: Any = np.float32,
    shards: int = 1,
) -> TinyWeights:
    """Writes the folder. Returns its weights as they were before they were rounded to the type."""
    folder.mkdir(parents=True)
    weights = TinyWeights(config)
    stored = hub_tensors(weights, layout, dtype)
    write_tensors(folder, stored, shards)
    write_json(folder / "config.json", hub_config(config, layout))
    write_json(folder / "generation_config.json", {"bos_token_id": 2, "eos_token_id": [1, 5]})
    write_json(folder / "tokenizer_config.json", {"chat_template": "{{ bos_token }}"})
    write_tiny_tokenizer(folder / "tokenizer.json")
    return weights


def hub_tensors(weights: TinyWeights, layout: Layout, dtype: Any) -> dict[str, NDArray[Any]]:
    """The tensors under a hub's names, with norms less one, and with parts for images."""
    stored = {
        _PREFIXES[layout] + _hub_name(name): np.ascontiguousarray(
            (values - 1 if name.endswith("norm") else values).astype(dtype)
        )
        for name, values in weights.all_tensors().items()
    }
    if layout != "text":
        stored["vision_tower.embeddings.weight"] = np.ones((4, 4), dtype)
    return stored


def write_tensors(folder: Path, stored: Mapping[str, NDArray[Any]], shards: int = 1) -> None:
    if shards == 1:
        save_file(dict(stored), folder / "model.safetensors")
        return
    places = {
        name: f"model-{1 + number % shards:05}-of-{shards:05}.safetensors"
        for number, name in enumerate(stored)
    }
    for file in sorted(set(places.values())):
        part = {name: stored[name] for name, place in places.items() if place == file}
        save_file(part, folder / file)
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    write_json(folder / "model.safetensors.index.json", index)


def hub_config(config: GemmaConfig, layout: Layout) -> dict[str, Any]:
    """config.json in the old keys for "text" and the old wrapper, in the new ones otherwise."""
    text: dict[str, Any] = {
        "model_type": "gemma3_text",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.feed_forward_size,
        "sliding_window": config.sliding_window,
        "query_pre_attn_scalar": round(config.attention_scale**-2),
        "max_position_embeddings": 4096,
    }
    scaling = {"factor": config.rope_factor_global, "rope_type": "linear"}
    every = config.full_attention_every
    if layout == "new wrapper":
        text["rope_parameters"] = {
            "full_attention": {**scaling, "rope_theta": config.rope_base_global},
            "sliding_attention": {"rope_type": "default", "rope_theta": config.rope_base_local},
        }
        text["layer_types"] = [
            "sliding_attention" if (layer + 1) % every else "full_attention"
            for layer in range(config.layers)
        ]
    else:
        text |= {"rope_theta": config.rope_base_global, "sliding_window_pattern": every}
        text |= {"rope_local_base_freq": config.rope_base_local, "rope_scaling": scaling}
    if layout == "text":
        return {"architectures": ["Gemma3ForCausalLM"], **text}
    return {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": text,
        "vision_config": {"hidden_size": 4},
    }


def change_config(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    write_json(file, {**json.loads(file.read_text()), **changes})


def write_json(file: Path, values: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(values))


def rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """To bfloat16 and back."""
    return values.astype(ml_dtypes.bfloat16).astype(np.float32)


def _hub_name(name: str) -> str:
    if name in ("embedding", "final_norm"):
        return {"embedding": "embed_tokens", "final_norm": "norm"}[name] + ".weight"
    _, layer, part = name.split(".")
    inner = _PARTS.get(part, f"self_attn.{part}" if "norm" in part else f"self_attn.{part}_proj")
    return f"layers.{layer}.{inner}.weight"
