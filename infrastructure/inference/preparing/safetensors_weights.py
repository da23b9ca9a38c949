"""Gemma 3 weights from a safetensors checkpoint, under the names of `ModelWeights`.

A checkpoint stores a norm as w if 1 + w is applied. In the multimodal wrapper the text model's
names have a prefix, which differs between old and new checkpoints.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from infrastructure.inference.prepared.config import GemmaConfig
from infrastructure.inference.prepared.errors import SourceUnusable
from infrastructure.inference.preparing.safetensors_folder import SafetensorsFolder

_EMBEDDING = "embed_tokens.weight"
_TOP = {"embedding": _EMBEDDING, "final_norm": "norm.weight"}
_LAYER = {
    "attention_norm": "input_layernorm",
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "q_norm": "self_attn.q_norm",
    "k_norm": "self_attn.k_norm",
    "o": "self_attn.o_proj",
    "attention_post_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
    "ffn_post_norm": "post_feedforward_layernorm",
}


class SafetensorsWeights:
    """A `ModelWeights`. Making one checks the presence, type and shape of every tensor.

    Raises SourceUnusable, which names the file.
    """

    def __init__(self, folder: SafetensorsFolder, config: GemmaConfig) -> None:
        self._folder = folder
        self._config = config
        self._prefix = _prefix(folder)
        for name, shape in tensor_shapes(config).items():
            stored = self._stored_name(name)
            found = folder.shape(stored)
            if found != shape:
                raise SourceUnusable(
                    folder.folder / folder.main_file,
                    f"{stored} has the shape {list(found)}, config.json means {list(shape)}",
                    "Name a folder whose config.json belongs to its weights.",
                )

    @property
    def config(self) -> GemmaConfig:
        return self._config

    def tensor(self, name: str) -> NDArray[np.float32]:
        values = self._folder.tensor(self._stored_name(name))
        return values + np.float32(1) if name.endswith("norm") else values

    def row_blocks(self, name: str, rows: int) -> Iterator[NDArray[np.float32]]:
        return self._folder.row_blocks(self._stored_name(name), rows)

    def _stored_name(self, name: str) -> str:
        return self._prefix + hub_name(name)


def hub_name(name: str) -> str:
    """A checkpoint's name for a tensor of `ModelWeights`, without the prefix."""
    if name in _TOP:
        return _TOP[name]
    _, layer, part = name.split(".")
    return f"layers.{layer}.{_LAYER[part]}.weight"


def tensor_shapes(config: GemmaConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor, by its name in `ModelWeights`."""
    hidden, ffn, head = config.hidden_size, config.feed_forward_size, config.head_dim
    queries, keys = config.heads * head, config.kv_heads * head
    layer: dict[str, tuple[int, ...]] = {
        "attention_norm": (hidden,),
        "q": (queries, hidden),
        "k": (keys, hidden),
        "v": (keys, hidden),
        "q_norm": (head,),
        "k_norm": (head,),
        "o": (hidden, queries),
        "attention_post_norm": (hidden,),
        "ffn_norm": (hidden,),
        "gate": (ffn, hidden),
        "up": (ffn, hidden),
        "down": (hidden, ffn),
        "ffn_post_norm": (hidden,),
    }
    shapes: dict[str, tuple[int, ...]] = {"embedding": (config.vocab_size, hidden)}
    shapes["final_norm"] = (hidden,)
    for number in range(config.layers):
        shapes |= {f"layers.{number}.{part}": shape for part, shape in layer.items()}
    return shapes


def _prefix(folder: SafetensorsFolder) -> str:
    """The prefix of the text model's names: "model.", "language_model.model." (old wrapper),
    "model.language_model." (new wrapper), or none."""
    found = [name for name in folder.names if name.endswith(_EMBEDDING)]
    if len(found) != 1:
        raise SourceUnusable(
            folder.folder / folder.main_file,
            f"it holds {len(found)} tensors named {_EMBEDDING} instead of one",
            "Name a folder with a whole Gemma 3 model.",
        )
    return found[0].removesuffix(_EMBEDDING)
