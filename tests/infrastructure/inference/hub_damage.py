"""Ways in which a folder of weights can be unusable, and what the refusal of each must say."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.infrastructure.inference.hub_folder import (
    CONFIG,
    change_config,
    hub_tensors,
    write_hub_folder,
    write_json,
    write_tensors,
)
from tests.infrastructure.inference.tiny import TinyWeights


def _drop(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _config(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: change_config(folder, **changes)


def _tensors(**changes: Any) -> Callable[[Path], None]:
    """Replaces tensors under the same configuration; None leaves one out."""

    def change(folder: Path) -> None:
        stored = hub_tensors(TinyWeights(CONFIG), "text", np.float32)
        for name, value in changes.items():
            full = f"model.layers.0.{name.replace('__', '.')}.weight"
            stored.pop(full)
            if value is not None:
                stored[full] = value
        write_tensors(folder, stored)

    return change


def _cut(name: str, keep: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:keep])

    return change


def _sharded(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        shutil.rmtree(folder)
        write_hub_folder(folder, shards=2)
        file = folder / "model.safetensors.index.json"
        index = json.loads(file.read_text())
        change(index["weight_map"])
        write_json(file, index)

    return apply


def _without_turns(folder: Path) -> None:
    file = folder / "tokenizer.json"
    file.write_text(file.read_text().replace("<start_of_turn>", "<begin_of_turn>"))


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "no config": (_drop("config.json"), r"config\.json in .*it is missing.*Download"),
    "config cut": (_cut("config.json", 40), r"config\.json.*truncated or damaged"),
    "config no object": (
        lambda folder: write_json(folder / "config.json", []),  # type: ignore[arg-type]
        r"config\.json.*no JSON object",
    ),
    "other architecture": (
        _config(architectures=["LlamaForCausalLM"], model_type="llama"),
        r"config\.json.*LlamaForCausalLM, not Gemma3ForCausalLM.*Name a folder",
    ),
    "gemma 3n": (
        _config(architectures=["Gemma3nForConditionalGeneration"], model_type="gemma3n"),
        "Gemma3nForConditionalGeneration",
    ),
    "other size": (
        _config(num_hidden_layers=34),
        r"config\.json.*34 layers.*Gemma 3 1B has 7 layers.*name its folder",
    ),
    "untied": (_config(tie_word_embeddings=False), "tie_word_embeddings to False"),
    "softcap": (_config(final_logit_softcapping=30.0), "final_logit_softcapping to 30.0"),
    "two-way": (_config(use_bidirectional_attention=True), "use_bidirectional_attention"),
    "yarn": (_config(rope_scaling={"rope_type": "yarn", "factor": 8}), "'yarn', only linear"),
    "no factor": (_config(rope_scaling={"rope_type": "linear"}), "factor is None"),
    "text for a number": (_config(hidden_size="64"), "hidden_size is '64'"),
    "half a layer": (_config(num_hidden_layers=6.5), "not a whole number"),
    "no heads": (_config(num_key_value_heads=0), "not a positive number"),
    "odd layers": (
        _config(layer_types=["full_attention", *["sliding_attention"] * 6]),
        "no regular pattern",
    ),
    "no tokenizer": (_drop("tokenizer.json"), r"tokenizer\.json in .*it is missing"),
    "tokenizer cut": (_cut("tokenizer.json", 500), r"tokenizer\.json.*it is no tokenizer"),
    "no turns": (_without_turns, r"tokenizer\.json.*lacks <start_of_turn>"),
    "base model": (
        lambda folder: write_json(folder / "tokenizer_config.json", {}),
        r"tokenizer_config\.json.*base model.*instruction-tuned",
    ),
    "no weights": (_drop("model.safetensors"), r"model\.safetensors in .*it is missing"),
    "weights cut": (_cut("model.safetensors", 90_000), r"model\.safetensors.*truncated"),
    "weights empty": (_cut("model.safetensors", 0), r"model\.safetensors.*truncated"),
    "weights cut in the header": (_cut("model.safetensors", 100), "truncated or damaged"),
    "tensor missing": (_tensors(self_attn__q_norm=None), r"layers\.0\.self_attn\.q_norm.*missing"),
    "tensor of another shape": (
        _tensors(mlp__up_proj=np.ones((3, 64), np.float32)),
        r"mlp\.up_proj\.weight has the shape \[3, 64\], config\.json means \[128, 64\]",
    ),
    "tensor of another type": (
        _tensors(mlp__up_proj=np.ones((128, 64), np.int8)),
        r"mlp\.up_proj\.weight is stored as I8.*BF16, F16, F32",
    ),
    "tensor not finite": (
        _tensors(mlp__up_proj=np.full((128, 64), np.nan, np.float32)),
        r"mlp\.up_proj\.weight holds numbers that are not finite",
    ),
    "shard missing": (
        _sharded(lambda places: places.update({"x": "model-00009-of-00009.safetensors"})),
        r"model-00009-of-00009\.safetensors.*it is missing",
    ),
    "index promises more": (
        _sharded(lambda places: places.update({"x": "model-00001-of-00002.safetensors"})),
        "it lacks x, which model.safetensors.index.json names",
    ),
    "index leads elsewhere": (
        _sharded(lambda places: places.update({"x": "../../etc/model.safetensors"})),
        r"index\.json.*names '\.\./\.\./etc/model\.safetensors'",
    ),
    "index empty": (_sharded(lambda places: places.clear()), "names no tensors"),
}
