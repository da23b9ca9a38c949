"""A tiny random Gemma 3 as optimum exports it, kept for the ordinary tests, which have no torch.

        python -m tests.parity.export_fixture

makes the file anew, as `chatledger models export --via optimum` does, in an environment that is
made in .venv-optimum. The graph names the SHA-256 of the weights that it belongs to.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from infrastructure.inference.prepared.catalogue import BY_NAME
from infrastructure.inference.prepared.config import GraphFormat, Precision
from infrastructure.inference.prepared.manifest import GRAPH_FILE, Source
from infrastructure.inference.preparing.model_source import OpenedSource, Progress, WrittenModel
from infrastructure.inference.preparing.optimum_export import OptimumSource, optimum_environment
from tests.infrastructure.inference.tiny import (
    BOS_ID,
    STOP_IDS,
    TINY,
    TinyWeights,
    write_tiny_tokenizer,
)

FILE = Path(__file__).parent / "optimum_tiny.onnx"
# One layer that sees eight tokens and one that sees all.
CONFIG = replace(
    TINY,
    hidden_size=32,
    layers=2,
    heads=2,
    kv_heads=2,
    feed_forward_size=64,
    full_attention_every=2,
)
FP32 = GraphFormat.of(Precision.FP32)
SOURCE = Source(package="tiny", version="1", file="none", sha256="1" * 64)
_WEIGHTS_KEY = "weights_sha256"


class TinySource:
    """A `WeightsSource` of random weights."""

    via = None

    def __init__(self, disk_bytes: int = 1_000_000) -> None:
        self._disk_bytes = disk_bytes

    def disk_bytes(self, kind: GraphFormat) -> int:
        return self._disk_bytes

    def identity(self, _on_progress: Progress, /) -> Source:
        return SOURCE

    @contextmanager
    def opened(self, _folder: Path, _on_progress: Progress, /) -> Iterator[OpenedSource]:
        yield OpenedSource(
            weights=TinyWeights(CONFIG),
            write_tokenizer=write_tiny_tokenizer,
            bos_id=BOS_ID,
            stop_ids=STOP_IDS,
            source=SOURCE,
        )

    def write_model(self, folder: Path, kind: GraphFormat, on_progress: Progress) -> WrittenModel:
        raise NotImplementedError("only its weights are asked for")


def weights_sha256() -> str:
    tensors = TinyWeights(CONFIG).all_tensors()
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].tobytes())
    return digest.hexdigest()


def checked_file() -> Path:
    import onnx

    stored = onnx.load(FILE).metadata_props
    assert {entry.key: entry.value for entry in stored} == {_WEIGHTS_KEY: weights_sha256()}, (
        "it belongs to other weights"
    )
    return FILE


def main() -> None:
    import onnx

    environment = optimum_environment(Path(__file__).parents[2] / ".venv-optimum")
    source = OptimumSource(BY_NAME["gemma3-270m"], TinySource(), environment)

    def show(_done: float, sentence: str) -> None:
        print(sentence, flush=True)

    source.make_environment(show)
    with tempfile.TemporaryDirectory(prefix="export-") as folder:
        source.write_model(Path(folder), FP32, show)
        model = onnx.load(Path(folder) / GRAPH_FILE)
    onnx.helper.set_model_props(model, {_WEIGHTS_KEY: weights_sha256()})
    onnx.save_model(model, FILE)
    print(f"{FILE}: {FILE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
