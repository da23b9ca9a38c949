"""Logits that transformers' Gemma3ForCausalLM gave for a tiny random model, for the ordinary tests.

The file holds float32 logits of each prompt's last position, and the SHA-256 of the weights that
they belong to. `make parity` checks it against transformers; `python -m tests.parity
--write-fixture` makes it anew.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from infrastructure.inference.prepared.config import GemmaConfig
from tests.infrastructure.inference.hub_folder import CONFIG, write_hub_folder
from tests.infrastructure.inference.tiny import TinyWeights

FILE = Path(__file__).parent / "transformers_logits.npz"
TINY_CONFIG: GemmaConfig = CONFIG

# Shorter than the window of eight, as long, longer, and many times as long.
_COUNTS = (1, 5, 7, 8, 9, 17, 64)


def prompts() -> list[list[int]]:
    return [
        np.random.default_rng(count).integers(6, TINY_CONFIG.vocab_size, count).tolist()
        for count in _COUNTS
    ]


def weights_sha256() -> str:
    tensors = TinyWeights(TINY_CONFIG).all_tensors()
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].tobytes())
    return digest.hexdigest()


def write_folder(folder: Path) -> None:
    write_hub_folder(folder, config=TINY_CONFIG)


def write_logits(logits: Sequence[NDArray[np.float32]]) -> None:
    np.savez_compressed(FILE, weights_sha256=np.array(weights_sha256()), logits=np.stack(logits))


def read_logits() -> NDArray[np.float32]:
    """float32[prompts, vocab]."""
    with np.load(FILE) as stored:
        assert str(stored["weights_sha256"]) == weights_sha256(), "it belongs to other weights"
        logits: NDArray[np.float32] = stored["logits"]
        return logits
