"""The second way to a graph: optimum, the exporter of Hugging Face, in an environment of its own.

We read the weights, whatever their source, and give them to optimum as a folder such as hubs give.
The tokenizer is ours too: the version of transformers that optimum needs rebuilds Gemma's from a
GGUF file wrongly. The result is a float32 graph of standard ONNX operators, which an
`ExportedSession` runs.
"""

import errno
import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from infrastructure.inference.graph.tensor_file import JOURNAL_SUFFIX
from infrastructure.inference.prepared.catalogue import CATALOGUE, CatalogueEntry
from infrastructure.inference.prepared.config import GemmaConfig, GraphFormat, Precision, Provider
from infrastructure.inference.prepared.errors import PreparationError
from infrastructure.inference.prepared.manifest import (
    GRAPH_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    Manifest,
    Source,
    prepared_manifest,
    record_of,
)
from infrastructure.inference.preparing.model_source import (
    Progress,
    WeightsSource,
    WrittenModel,
    copy_terms,
)
from infrastructure.inference.preparing.own_environment import (
    NO_SPACE,
    CommandFailed,
    EnvironmentMissing,
    OwnEnvironment,
    run_logged,
)
from infrastructure.inference.preparing.prepare import (
    open_source,
    prepare_from,
    resolve_model,
)
from infrastructure.inference.sessions.exported_session import ExportedSession
from infrastructure.inference.sessions.host_session import SessionLimits, open_session
from infrastructure.process.memory import system_memory

PINS = Path(__file__).with_name("optimum.txt")
VIA = "optimum-onnx 0.1.0"
_FORMAT = GraphFormat.of(Precision.FP32)
_EXPORT_TIMEOUT_S = 2 * 3600.0
# The packages, and pip's copies of them during the installation.
_ENVIRONMENT_BYTES = 2_500_000_000
# Disk space, in sizes of the float32 model: the copy that optimum reads, its graph (with a second
# copy of the embedding table, for the head), and that graph again with its weights in a file.
_DISK_TIMES = 3
# Memory, in sizes of the float32 model: 7 GB for the 270M model, whose files take 1.4 GB.
_MEMORY_TIMES = 5
# Smaller tensors stay in the graph, because ONNX Runtime looks for shapes there.
_EXTERNAL_BYTES_MIN = 1024


def optimum_environment(folder: Path) -> OwnEnvironment:
    return OwnEnvironment(
        folder=folder / "optimum", pins=PINS, needed_bytes=_ENVIRONMENT_BYTES, pythons=(11, 13)
    )


def export_model(
    name: str,
    models_dir: Path,
    environment: OwnEnvironment,
    on_progress: Progress,
    *,
    folder: Path | None = None,
    catalogue: Sequence[CatalogueEntry] = CATALOGUE,
) -> Manifest:
    """Make the model ready for the engine with a graph from optimum instead of our own.

    name, folder: as for `prepare_model`. The environment is made on first use (a few minutes and
    1.6 GB). The export of the 270M model takes about two minutes, 7 GB of memory and 4.2 GB of
    disk. Raises PreparationError.
    """
    entry, folder = resolve_model(name, folder, catalogue)
    ready = prepared_manifest(entry.name, models_dir, catalogue)
    if folder is None and ready is not None and ready.via == VIA:
        on_progress(1.0, f"{entry.title} is ready.")
        return ready
    source = OptimumSource(entry, open_source(entry, folder), environment)
    source.refuse_too_little_memory()
    source.make_environment(on_progress)
    return prepare_from(source, entry, _FORMAT, models_dir, on_progress, catalogue=catalogue)


class OptimumSource:
    """A `ModelSource` that exports the weights of another source."""

    via = VIA

    def __init__(
        self, entry: CatalogueEntry, inner: WeightsSource, environment: OwnEnvironment
    ) -> None:
        self._entry = entry
        self._inner = inner
        self._environment = environment

    def disk_bytes(self, kind: GraphFormat) -> int:
        return _DISK_TIMES * self._inner.disk_bytes(kind)

    def identity(self, on_progress: Progress, /) -> Source | None:
        return self._inner.identity(on_progress)

    def refuse_too_little_memory(self) -> None:
        """Raises PreparationError."""
        _, available = system_memory()
        if available < self._memory_bytes():
            raise PreparationError(
                f"optimum takes about {self._memory_bytes() / 1e9:.0f} GB of memory to export"
                f" {self._entry.title}, but {available / 1e9:.1f} GB are free: use a machine with"
                f" more, or `{self._entry.prepare_command}`, which needs memory for one tensor"
            )

    def make_environment(self, on_progress: Progress) -> None:
        """Raises PreparationError."""
        try:
            self._environment.make(partial(on_progress, 0.0))
        except EnvironmentMissing as error:
            raise PreparationError(str(error)) from error

    def write_model(self, folder: Path, _kind: GraphFormat, on_progress: Progress) -> WrittenModel:
        """See `ModelSource`. The fractions of the progress were measured on two cores."""
        # An interrupted preparation with our own writer may have left these.
        for begun in (folder / WEIGHTS_FILE, folder / (WEIGHTS_FILE + JOURNAL_SUFFIX)):
            begun.unlink(missing_ok=True)
        hub, exported = folder / "hub", folder / "exported"
        with self._inner.opened(folder, on_progress) as opened:
            from infrastructure.inference.preparing.hub_copy import write_hub_copy

            said = f"Copying the weights of {self._entry.title} for optimum."
            write_hub_copy(
                opened.weights,
                hub,
                bos_id=opened.bos_id,
                on_progress=lambda done: on_progress(0.05 + 0.1 * done, said),
            )
            on_progress(0.15, f"optimum is exporting {self._entry.title}, which takes minutes.")
            self._export(hub, exported)
            shutil.rmtree(hub)
            on_progress(0.8, "Putting the weights into a file of their own.")
            _separate_weights(exported, folder)
            on_progress(0.9, f"Building the tokenizer of {self._entry.title}.")
            opened.write_tokenizer(folder / TOKENIZER_FILE)
        copy_terms(folder)
        config = opened.weights.config
        _check(folder, config, opened.bos_id)
        return WrittenModel(
            config=config,
            bos_id=opened.bos_id,
            stop_ids=opened.stop_ids,
            hashes={WEIGHTS_FILE: record_of(folder / WEIGHTS_FILE).sha256},
            source=opened.source,
        )

    def _memory_bytes(self) -> int:
        return _MEMORY_TIMES * self._inner.disk_bytes(_FORMAT)

    def _export(self, hub: Path, exported: Path) -> None:
        command = [str(self._environment.script("optimum-cli")), "export", "onnx"]
        command += ["--task", "text-generation-with-past", "--model", str(hub), str(exported)]
        log = self._environment.folder.with_name("optimum-export.log")
        log.unlink(missing_ok=True)
        offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
        try:
            run_logged(command, log, timeout_s=_EXPORT_TIMEOUT_S, environment=offline)
        except CommandFailed as error:
            if error.killed:
                raise PreparationError(
                    f"the system ended optimum while it exported {self._entry.title}, most likely"
                    f" for want of memory: free about {self._memory_bytes() / 1e9:.0f} GB"
                ) from error
            if error.says(NO_SPACE):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(exported)) from error
            raise PreparationError(
                f"optimum could not export {self._entry.title} ({error}); all of it is in {log}"
            ) from error


def _separate_weights(exported: Path, folder: Path) -> None:
    """Put the weights into a file of their own: ONNX Runtime maps such a file, but copies weights
    that are in the graph."""
    import onnx

    model = onnx.load(exported / GRAPH_FILE)
    onnx.save_model(
        model,
        folder / GRAPH_FILE,
        save_as_external_data=True,
        location=WEIGHTS_FILE,
        size_threshold=_EXTERNAL_BYTES_MIN,
    )
    # It was made readable by its owner only, unlike all other files.
    (folder / WEIGHTS_FILE).chmod((folder / GRAPH_FILE).stat().st_mode & 0o777)
    shutil.rmtree(exported)


def _check(folder: Path, config: GemmaConfig, bos_id: int) -> None:
    """Raises PreparationError if the engine cannot run the graph."""
    limits = SessionLimits(context_tokens=1, threads=1)
    try:
        session = ExportedSession(
            open_session(folder, threads=1, provider=Provider.CPU), config, limits
        )
        logits = session.prefill(0, [bos_id], 0, 1)
    except Exception as error:
        raise PreparationError(
            f"optimum made a graph that cannot be run here ({type(error).__name__}: {error})"
        ) from error
    if not np.isfinite(logits).all():
        raise PreparationError("optimum made a graph whose logits are not finite")
