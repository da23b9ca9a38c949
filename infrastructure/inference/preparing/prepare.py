"""Prepares a model: turns the weights of a package or folder into a folder that the engine loads.

Everything is written into a folder beside the target and renamed at the end, so a model is either
whole or not there. The next run continues an interrupted one if it has the same source and
precision; otherwise it removes what that has left. A models folder has one preparation at a time.
"""

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from infrastructure.inference.graph.tensor_file import JOURNAL_SUFFIX
from infrastructure.inference.prepared.catalogue import CATALOGUE, CatalogueEntry
from infrastructure.inference.prepared.config import GraphFormat, Precision, Provider
from infrastructure.inference.prepared.errors import (
    NotEnoughDisk,
    PreparationError,
)
from infrastructure.inference.prepared.manifest import (
    GRAPH_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    FileRecord,
    Manifest,
    prepared_manifest,
    record_of,
    write_manifest,
)
from infrastructure.inference.prepared.versions import graph_version
from infrastructure.inference.preparing.model_source import (
    TERMS_FILES,
    ModelSource,
    Progress,
    WeightsSource,
    WrittenModel,
)
from infrastructure.process.files import flush_to_disk

_LOCK_TIMEOUT_S = 600


def prepare_model(
    name: str,
    models_dir: Path,
    on_progress: Progress,
    *,
    folder: Path | None = None,
    precision: Precision | None = None,
    provider: Provider | None = None,
    disk_bytes: int | None = None,
    catalogue: Sequence[CatalogueEntry] = CATALOGUE,
) -> Manifest:
    """Make the model ready for the engine, unless it is (only the sizes of its files are checked).

    name: of a model in the catalogue, or the path of a folder of weights, whose shape tells the
        model.
    folder: the weights of a model that no package brings. A prepared model of the same source
        and precision is left as it is.
    precision: None accepts a prepared model of any; otherwise it means int8, or bf16 for CUDA.
    provider: that the graph is made for; None means the CPU if it has kernels for the precision.
    disk_bytes: the free space to require before anything is written; None estimates it.
    on_progress: gets the fraction done and a sentence for the user.

    The 270M model takes about 10 s and 400 MB of memory. A service should run this in a process of
    its own.

    Raises PreparationError, which may be NotEnoughDisk or SourceUnusable.
    """
    entry, folder = resolve_model(name, folder, catalogue)
    ready = prepared_manifest(entry.name, models_dir, catalogue)
    try:
        kind = GraphFormat.of(precision, provider)
    except ValueError as error:
        raise PreparationError(f"{entry.title} cannot be prepared like this: {error}") from error
    takes_any = precision is None and provider is None
    if folder is None and ready is not None and (takes_any or _is_made_as(ready, kind)):
        on_progress(1.0, f"{entry.title} is ready.")
        return ready
    source = open_source(entry, folder)
    return prepare_from(
        source, entry, kind, models_dir, on_progress, disk_bytes=disk_bytes, catalogue=catalogue
    )


def prepare_from(
    source: ModelSource,
    entry: CatalogueEntry,
    kind: GraphFormat,
    models_dir: Path,
    on_progress: Progress,
    *,
    disk_bytes: int | None = None,
    catalogue: Sequence[CatalogueEntry] = CATALOGUE,
) -> Manifest:
    """See `prepare_model`."""
    needed = source.disk_bytes(kind) if disk_bytes is None else disk_bytes
    job = _Job(entry, source, kind, needed, catalogue)
    try:
        return job.run(models_dir, on_progress)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            free = shutil.disk_usage(models_dir).free
            raise NotEnoughDisk(models_dir, needed_bytes=needed, free_bytes=free) from error
        raise PreparationError(
            f"{entry.title} cannot be prepared in {models_dir}: {error.strerror or error}"
        ) from error


def resolve_model(
    name: str, folder: Path | None, catalogue: Sequence[CatalogueEntry]
) -> tuple[CatalogueEntry, Path | None]:
    """The model that is meant, and the folder of its weights if one was named."""
    by_name = {entry.name: entry for entry in catalogue}
    entry = by_name.get(name)
    if entry is not None:
        if folder is not None and entry.shape is None:
            raise PreparationError(
                f"{entry.title} comes from the package {entry.package}: leave the folder out"
            )
        return entry, folder
    if folder is None:
        from infrastructure.inference.preparing.folder_source import is_folder, matching_entry

        if os.sep in name or is_folder(Path(name)):
            return matching_entry(Path(name).absolute(), catalogue), Path(name)
    raise PreparationError(
        f"there is no model {name!r}; known are {', '.join(by_name)}, or name a folder of weights"
    )


def open_source(entry: CatalogueEntry, folder: Path | None) -> WeightsSource:
    """Raises PreparationError if the weights are missing or are another model's."""
    # Imported late: their libraries are not needed by a service whose models are prepared.
    if folder is not None:
        from infrastructure.inference.preparing.folder_source import FolderSource

        return FolderSource(entry, folder)
    if entry.package is None:
        raise PreparationError(f"{entry.title} cannot be prepared. {entry.how_to_prepare}")
    from infrastructure.inference.preparing.package_source import PackageSource

    return PackageSource(entry)


class _Job:
    def __init__(
        self,
        entry: CatalogueEntry,
        source: ModelSource,
        kind: GraphFormat,
        disk_bytes: int,
        catalogue: Sequence[CatalogueEntry],
    ) -> None:
        self._entry = entry
        self._source = source
        self._format = kind
        self._disk_bytes = disk_bytes
        self._catalogue = catalogue

    def run(self, models_dir: Path, on_progress: Progress) -> Manifest:
        from filelock import FileLock, Timeout

        models_dir.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(models_dir / ".preparing.lock", timeout=_LOCK_TIMEOUT_S):
                manifest = self._run_locked(models_dir, on_progress)
        except Timeout as error:
            raise PreparationError(
                f"another process has been preparing a model in {models_dir} for"
                f" {_LOCK_TIMEOUT_S} s: wait for it or stop it"
            ) from error
        on_progress(1.0, f"{self._entry.title} is ready.")
        return manifest

    def _run_locked(self, models_dir: Path, on_progress: Progress) -> Manifest:
        entry = self._entry
        temporary = models_dir / f".{entry.name}.preparing"
        # Another process may have prepared the model while this one waited.
        ready = prepared_manifest(entry.name, models_dir, self._catalogue)
        if ready is not None and self._is_what_is_wanted(ready, on_progress):
            shutil.rmtree(temporary, ignore_errors=True)
            return ready
        _keep_resumable_weights(temporary)
        free = shutil.disk_usage(models_dir).free + _size(temporary / WEIGHTS_FILE)
        if free < self._disk_bytes:
            raise NotEnoughDisk(models_dir, needed_bytes=self._disk_bytes, free_bytes=free)
        temporary.mkdir(exist_ok=True)
        try:
            written = self._source.write_model(temporary, self._format, on_progress)
            on_progress(0.95, "Writing everything to disk.")
            manifest = self._manifest(written, temporary)
            write_manifest(manifest, temporary)
            _put_in_place(temporary, models_dir / entry.name)
        except Exception:
            # Not after an interrupt or a kill: then the files stay, and the next run continues.
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return manifest

    def _is_what_is_wanted(self, ready: Manifest, on_progress: Progress) -> bool:
        if not _is_made_as(ready, self._format, self._source.via):
            return False
        return self._source.identity(on_progress) in (None, ready.source)

    def _manifest(self, written: WrittenModel, folder: Path) -> Manifest:
        names = (GRAPH_FILE, *written.hashes, TOKENIZER_FILE, *TERMS_FILES)
        return Manifest(
            name=self._entry.name,
            title=self._entry.title,
            precision=self._format.weights.value,
            graph_version=graph_version(self._source.via),
            template_version=self._entry.template_version,
            providers=(self._format.provider.value,),
            bos_id=written.bos_id,
            stop_ids=written.stop_ids,
            config=written.config,
            source=written.source,
            licence=self._entry.licence,
            licence_url=self._entry.licence_url,
            files={name: _record(folder / name, written.hashes.get(name)) for name in names},
            via=self._source.via,
        )


def _is_made_as(ready: Manifest, kind: GraphFormat, via: str | None = None) -> bool:
    made = (ready.precision, ready.providers, ready.via)
    return made == (kind.weights.value, (kind.provider.value,), via)


def _record(path: Path, known_sha256: str | None) -> FileRecord:
    if known_sha256 is None:
        return record_of(path)
    return FileRecord(size_bytes=path.stat().st_size, sha256=known_sha256)


def _keep_resumable_weights(temporary: Path) -> None:
    """Remove what an interrupted run has left, except weights with a journal."""
    begun = {WEIGHTS_FILE, WEIGHTS_FILE + JOURNAL_SUFFIX}
    if not all((temporary / name).is_file() for name in begun):
        shutil.rmtree(temporary, ignore_errors=True)
        return
    for path in temporary.iterdir():
        if path.name not in begun:
            path.unlink()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _put_in_place(temporary: Path, target: Path) -> None:
    """Flush every file, then rename. A process that has mapped the old files keeps them."""
    for path in temporary.iterdir():
        flush_to_disk(path)
    flush_to_disk(temporary)
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    temporary.rename(target)
    flush_to_disk(target.parent)
    shutil.rmtree(old, ignore_errors=True)
