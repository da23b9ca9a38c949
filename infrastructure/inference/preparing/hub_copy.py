"""Writes a model's weights as a folder such as model hubs give, for other tools to read."""

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infrastructure.inference.prepared.config import GemmaConfig, ModelWeights
from infrastructure.inference.preparing.hub_config import CONFIG_FILE
from infrastructure.inference.preparing.safetensors_folder import INDEX_FILE
from infrastructure.inference.preparing.safetensors_weights import hub_name, tensor_shapes

_PAD, _EOS = 0, 1


def write_hub_copy(
    source: ModelWeights,
    folder: Path,
    *,
    bos_id: int,
    on_progress: Callable[[float], None] = lambda _: None,
) -> None:
    """Write config.json, generation_config.json and float32 safetensors of the text model. Each
    layer has a file, so no more than a layer is in memory. The tokenizer is not written."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    parts: dict[str, list[str]] = defaultdict(list)
    for name in tensor_shapes(source.config):
        parts[".".join(name.split(".")[:-1])].append(name)
    places: dict[str, str] = {}
    for number, names in enumerate(parts.values()):
        file = f"model-{number + 1:05}-of-{len(parts):05}.safetensors"
        tensors = {f"model.{hub_name(name)}": _stored(source, name) for name in names}
        save_file(tensors, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(tensors, file)
        on_progress((number + 1) / len(parts))
    size = sum(4 * int(np.prod(shape)) for shape in tensor_shapes(source.config).values())
    write_json(folder / INDEX_FILE, {"metadata": {"total_size": size}, "weight_map": places})
    ids = {"bos_token_id": bos_id, "eos_token_id": _EOS, "pad_token_id": _PAD}
    write_json(folder / "generation_config.json", ids)
    write_json(folder / CONFIG_FILE, {**hub_config(source.config), **ids})


def hub_config(config: GemmaConfig) -> dict[str, Any]:
    """config.json with the keys of transformers before version 5, which later versions read too."""
    kinds = ("sliding_attention", "full_attention")
    factor = config.rope_factor_global
    return {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.feed_forward_size,
        "rms_norm_eps": config.norm_epsilon,
        "sliding_window": config.sliding_window,
        "query_pre_attn_scalar": round(config.attention_scale**-2),
        "rope_theta": config.rope_base_global,
        "rope_local_base_freq": config.rope_base_local,
        "rope_scaling": None if factor == 1 else {"rope_type": "linear", "factor": factor},
        "layer_types": [kinds[config.is_full_attention(layer)] for layer in range(config.layers)],
        "max_position_embeddings": config.positions_max,
        "hidden_activation": "gelu_pytorch_tanh",
        "tie_word_embeddings": True,
        "attention_bias": False,
        "torch_dtype": "float32",
    }


def write_json(file: Path, values: Any) -> None:
    file.write_text(json.dumps(values, indent=1))


def _stored(source: ModelWeights, name: str) -> NDArray[np.float32]:
    """The tensor as a checkpoint stores it: a norm as w if 1 + w is applied. It is a copy, because
    the file that it was read from may be closed before this is dropped."""
    return source.tensor(name) - np.float32(name.endswith("norm"))
