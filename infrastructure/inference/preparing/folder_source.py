"""Weights in a folder such as model hubs give: config.json, tokenizer.json, safetensors."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infrastructure.inference.answers.tokenizer import GemmaTokenizer
from infrastructure.inference.answers.turns_template import CONTROL_TOKENS, END_OF_TURN
from infrastructure.inference.graph.quantize import BLOCK
from infrastructure.inference.prepared.catalogue import CatalogueEntry, ModelShape
from infrastructure.inference.prepared.config import GraphFormat
from infrastructure.inference.prepared.errors import (
    ModelFileDamaged,
    PreparationError,
    SourceUnusable,
)
from infrastructure.inference.prepared.manifest import TOKENIZER_FILE, Source
from infrastructure.inference.preparing.hub_config import CONFIG_FILE, read_hub_config
from infrastructure.inference.preparing.model_source import (
    OpenedSource,
    Progress,
    WrittenModel,
    copy_terms,
    graph_bytes,
)
from infrastructure.inference.preparing.safetensors_folder import (
    SafetensorsFolder,
    read_json,
    unreadable,
)
from infrastructure.inference.preparing.safetensors_weights import SafetensorsWeights

_GENERATION_FILE, _TOKENIZER_CONFIG_FILE = "generation_config.json", "tokenizer_config.json"
_TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json")
_READ_BYTES = 8 * 1024 * 1024
# Fractions of the work: hashing reads every file, converting reads it again and quantises.
_HASHED_AT, _CONVERTED_AT = 0.1, 0.95


class FolderSource:
    """A `WeightsSource`. Making one reads the headers and checks everything but the numbers.

    Raises SourceUnusable, which names the file, or PreparationError if there is no such folder.
    """

    via = None

    def __init__(self, entry: CatalogueEntry, folder: Path) -> None:
        self._entry = entry
        self._identity: Source | None = None
        self._folder = folder = folder.absolute()
        _require_folder(folder)
        self.config = read_hub_config(folder, positions_max=entry.positions_max)
        if entry.shape is not None and ModelShape.of(self.config) != entry.shape:
            raise SourceUnusable(
                folder / CONFIG_FILE,
                f"it describes {ModelShape.of(self.config)}",
                f"{entry.title} has {entry.shape}: name its folder.",
            )
        self._refuse_a_base_model()
        self._tensors = SafetensorsFolder(folder)
        self._weights = SafetensorsWeights(self._tensors, self.config)
        self.bos_id, self.stop_ids = self._special_ids()

    def disk_bytes(self, kind: GraphFormat) -> int:
        return graph_bytes(self.config, kind)

    def identity(self, on_progress: Progress, /) -> Source:
        """Hashes all files that preparing reads, at the first call."""
        if self._identity is None:
            said = f"Reading {self._folder.name} ({self._entry.licence} apply)."
            package, version = _origin(self._folder)
            files = [self._folder / name for name in (CONFIG_FILE, TOKENIZER_FILE)]
            sha256 = _hash_of(
                [*files, *self._tensors.files], lambda done: on_progress(_HASHED_AT * done, said)
            )
            self._identity = Source(
                package=package, version=version, file=self._tensors.main_file, sha256=sha256
            )
        return self._identity

    @contextmanager
    def opened(self, _folder: Path, on_progress: Progress, /) -> Iterator[OpenedSource]:
        yield OpenedSource(
            weights=self._weights,
            write_tokenizer=self._write_tokenizer,
            bos_id=self.bos_id,
            stop_ids=self.stop_ids,
            source=self.identity(on_progress),
        )

    def write_model(self, folder: Path, kind: GraphFormat, on_progress: Progress) -> WrittenModel:
        from infrastructure.inference.graph.gemma_graph import write_graph

        self._refuse_what_cannot_be_quantised(kind)
        source = self.identity(on_progress)
        said = f"Converting {self._entry.title} to {kind}."
        hashes = write_graph(
            self._weights,
            folder,
            kind.weights,
            lambda done: on_progress(_HASHED_AT + (_CONVERTED_AT - _HASHED_AT) * done, said),
            provider=kind.provider,
            resume_key=source.sha256,
        )
        self._write_tokenizer(folder / TOKENIZER_FILE)
        copy_terms(folder)
        return WrittenModel(
            config=self.config,
            bos_id=self.bos_id,
            stop_ids=self.stop_ids,
            hashes=hashes,
            source=source,
        )

    def _write_tokenizer(self, target: Path) -> None:
        target.write_bytes((self._folder / TOKENIZER_FILE).read_bytes())

    def _refuse_a_base_model(self) -> None:
        """Only on proof: there is a tokenizer_config.json, but no chat template anywhere."""
        file = self._folder / _TOKENIZER_CONFIG_FILE
        if not file.exists() or any((self._folder / name).exists() for name in _TEMPLATE_FILES):
            return
        if not read_json(file).get("chat_template"):
            raise SourceUnusable(
                file,
                "it has no chat template, so this is a base model, which cannot chat",
                'Name the folder of the instruction-tuned weights (their names end in "-it").',
            )

    def _refuse_what_cannot_be_quantised(self, kind: GraphFormat) -> None:
        config = self.config
        widths = (config.hidden_size, config.feed_forward_size, config.heads * config.head_dim)
        if kind.quantized and any(width % BLOCK for width in widths):
            raise SourceUnusable(
                self._folder / CONFIG_FILE,
                f"not all of its sizes {widths} are multiples of {BLOCK}, the block of"
                f" {kind.weights} weights",
                "Prepare it with `--precision fp32` (CPU) or `--precision bf16` (CUDA).",
            )

    def _special_ids(self) -> tuple[int, tuple[int, ...]]:
        """The begin-of-sequence id, and the ids that end an answer."""
        file = self._folder / TOKENIZER_FILE
        remedy = "Download the tokenizer that belongs to the weights (tokenizer.json)."
        try:
            with file.open("rb"):
                pass
            tokenizer = GemmaTokenizer.load(file, bos_id=0, stop_ids=())
        except ModelFileDamaged as error:
            raise SourceUnusable(file, "it is no tokenizer", remedy) from error
        except OSError as error:
            raise unreadable(file, error) from error
        ids = {token: tokenizer.id_of(token) for token in CONTROL_TOKENS}
        missing = [
            token
            for token, place in ids.items()
            if place is None or place >= self.config.vocab_size
        ]
        if missing:
            raise SourceUnusable(file, f"it lacks {', '.join(missing)}", remedy)
        # Without the added tokens: those beyond the embedding table are the image marks of the
        # multimodal wrapper, which no text becomes.
        if tokenizer.plain_vocab_size > self.config.vocab_size:
            raise SourceUnusable(
                file, f"it has more tokens than the model ({self.config.vocab_size})", remedy
            )
        stops = {ids[END_OF_TURN], *self._end_ids()}
        return ids["<bos>"] or 0, tuple(sorted(stop for stop in stops if stop is not None))

    def _end_ids(self) -> set[int]:
        """eos_token_id, a number or a list, from generation_config.json or else config.json."""
        for name in (_GENERATION_FILE, CONFIG_FILE):
            file = self._folder / name
            if not file.exists():
                continue
            found: Any = read_json(file).get("eos_token_id")
            ids = found if isinstance(found, list) else [found]
            if found is not None:
                return {
                    place
                    for place in ids
                    if isinstance(place, int) and 0 <= place < self.config.vocab_size
                }
        return set()


def is_folder(path: Path) -> bool:
    """Raises SourceUnusable if this user may not look into the parent folder."""
    try:
        return path.is_dir()
    except OSError as error:
        raise unreadable(path, error) from error


def matching_entry(folder: Path, catalogue: Sequence[CatalogueEntry]) -> CatalogueEntry:
    """The catalogue's model with the shape that the folder's config.json describes.

    Raises SourceUnusable if no model has it, PreparationError if there is no such folder.
    """
    _require_folder(folder)
    shape = ModelShape.of(read_hub_config(folder, positions_max=1))
    for entry in catalogue:
        if entry.shape == shape:
            return entry
    known = "; ".join(f"{entry.title} has {entry.shape}" for entry in catalogue if entry.shape)
    raise SourceUnusable(folder / CONFIG_FILE, f"it describes {shape}", f"Known are: {known}.")


def _require_folder(folder: Path) -> None:
    if not is_folder(folder):
        raise PreparationError(f"there is no folder {folder}: name the one with the weights")


def _origin(folder: Path) -> tuple[str, str]:
    """A hub snapshot's repository and revision, or the folder's name and "local folder"."""
    repository = folder.parent.parent.name
    if folder.parent.name == "snapshots" and repository.startswith("models--"):
        return repository.removeprefix("models--").replace("--", "/"), folder.name
    return folder.name, "local folder"


def _hash_of(files: Sequence[Path], on_progress: Callable[[float], None]) -> str:
    """See `manifest.Source`."""
    lines, done = [], 0
    try:
        total = sum(file.stat().st_size for file in files)
        for file in sorted(files, key=lambda path: path.name):
            digest = hashlib.sha256()
            with file.open("rb") as opened:
                while chunk := opened.read(_READ_BYTES):
                    digest.update(chunk)
                    done += len(chunk)
                    on_progress(min(1.0, done / total))
            lines.append(f"{digest.hexdigest()}  {file.name}\n")
    except OSError as error:
        raise unreadable(file, error) from error
    return hashlib.sha256("".join(lines).encode()).hexdigest()
