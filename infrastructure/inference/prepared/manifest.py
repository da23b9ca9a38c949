"""The folder of a prepared model: its files, and manifest.json, which says what the model is made
of and whether its files are still that.

The manifest's hash is the SHA-256 of its canonical JSON. It names the weights, the graph and
the prompt template together, so an answer that records it can be traced to all three.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from infrastructure.inference.prepared.catalogue import CATALOGUE, CatalogueEntry
from infrastructure.inference.prepared.config import GemmaConfig
from infrastructure.inference.prepared.errors import ModelFileDamaged
from infrastructure.inference.prepared.versions import graph_version

GRAPH_FILE = "model.onnx"
WEIGHTS_FILE = "weights.bin"
TOKENIZER_FILE = "tokenizer.json"
MANIFEST_FILE = "manifest.json"

_FORMAT = 1
_READ_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the weights came from.

    From a package: its name and version, the file in it and that file's SHA-256. From a folder:
    the folder's name (or the hub repository's, where the folder is a hub's snapshot), the
    snapshot's revision or "local folder", its weights file or index, and the SHA-256 of one
    line "<sha256>  <file name>" per file that was read, in the order of the names.
    """

    package: str
    version: str
    file: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """providers: ONNX Runtime providers whose kernels the graph was made for ("cpu").
    via: who made the graph; None for our own writer, and then no part of the hash."""

    name: str
    title: str
    precision: str
    graph_version: int
    template_version: str
    providers: tuple[str, ...]
    bos_id: int
    stop_ids: tuple[int, ...]
    config: GemmaConfig
    source: Source
    licence: str
    licence_url: str
    files: Mapping[str, FileRecord]
    via: str | None = None

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.canonical()).hexdigest()

    def canonical(self) -> bytes:
        """UTF-8 JSON with sorted keys and no white space."""
        values = asdict(self)
        if self.via is None:
            # Answers cite manifests that were written before there was another way.
            del values["via"]
        return json.dumps(
            {"format": _FORMAT, **values},
            sort_keys=True,
            separators=(",", ":"),
            ensure_ascii=False,
        ).encode()

    def size_bytes(self) -> int:
        return sum(record.size_bytes for record in self.files.values())


def write_manifest(manifest: Manifest, folder: Path) -> None:
    readable = json.dumps(
        {**json.loads(manifest.canonical()), "manifest_hash": manifest.hash},
        indent=2,
        ensure_ascii=False,
    )
    (folder / MANIFEST_FILE).write_text(readable + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Raises ModelFileDamaged when it is missing, unreadable or not what its hash says."""
    path = folder / MANIFEST_FILE
    try:
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        said = stored.pop("manifest_hash")
        stored.pop("format")
        manifest = Manifest(
            **{
                **stored,
                "providers": tuple(stored["providers"]),
                "stop_ids": tuple(stored["stop_ids"]),
                "config": GemmaConfig(**stored["config"]),
                "source": Source(**stored["source"]),
                "files": {name: FileRecord(**file) for name, file in stored["files"].items()},
            }
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFileDamaged(path, f"it cannot be read ({error})") from error
    if manifest.hash != said:
        raise ModelFileDamaged(path, "its content does not match its own hash")
    return manifest


def prepared_manifest(
    name: str, models_dir: Path, catalogue: Sequence[CatalogueEntry] = CATALOGUE
) -> Manifest | None:
    """The manifest of a whole, current model, else None. Reads no weights."""
    folder = models_dir / name
    try:
        manifest = read_manifest(folder)
        check_sizes(manifest, folder)
    except ModelFileDamaged:
        return None
    if manifest.graph_version != graph_version(manifest.via):
        return None
    known = {(entry.name, entry.template_version) for entry in catalogue}
    return manifest if (name, manifest.template_version) in known else None


def check_sizes(manifest: Manifest, folder: Path) -> None:
    """Raises ModelFileDamaged naming the first file that is missing or of another size."""
    for name, record in manifest.files.items():
        path = folder / name
        try:
            size = path.stat().st_size
        except OSError as error:
            raise ModelFileDamaged(path, "it is missing") from error
        if size != record.size_bytes:
            raise ModelFileDamaged(path, f"it has {size} bytes instead of {record.size_bytes}")


def check_hashes(manifest: Manifest, folder: Path) -> None:
    """Read every file (0.2 s for 300 MB). Raises ModelFileDamaged naming the first altered."""
    check_sizes(manifest, folder)
    for name, record in manifest.files.items():
        if record_of(folder / name) != record:
            raise ModelFileDamaged(folder / name, "its content changed since it was prepared")


def record_of(path: Path) -> FileRecord:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return FileRecord(size_bytes=size, sha256=digest.hexdigest())
