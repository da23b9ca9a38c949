"""Reads the tensors of a safetensors checkpoint (one file, or several with an index) one at a time.

The file is mapped anew for every block of rows, because mapped pages count as the process's memory
until the file is closed: up to 5 GB, the size of a shard. (The library can also read without
mapping, but then reads the whole tensor for every slice of it.)
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  numpy knows bfloat16 once this is imported
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from infrastructure.inference.prepared.errors import SourceUnusable

INDEX_FILE = "model.safetensors.index.json"
SINGLE_FILE = "model.safetensors"

_TYPES = ("BF16", "F16", "F32")
_PLAIN_NAME = re.compile(r"[\w.-]+\.safetensors", re.ASCII)
_AGAIN = "Download the model's folder again, whole."
_RIGHTS = "Give this user the right to read the folder and its files."


@dataclass(frozen=True, kw_only=True)
class TensorPlace:
    file: Path
    shape: tuple[int, ...]
    dtype: str


class SafetensorsFolder:
    """Reads all headers at once, tensors when asked. Raises SourceUnusable, naming the file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[str, TensorPlace] = {}
        indexed = _indexed(folder)
        self.files: tuple[Path, ...] = tuple(sorted(set(indexed.values()))) or (
            folder / SINGLE_FILE,
        )
        for file in self.files:
            self._places |= _places(file)
        for name, file in indexed.items():
            if name not in self._places or self._places[name].file != file:
                raise SourceUnusable(file, f"it lacks {name}, which {INDEX_FILE} names", _AGAIN)

    @property
    def main_file(self) -> str:
        return SINGLE_FILE if self.files == (self.folder / SINGLE_FILE,) else INDEX_FILE

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._places)

    def shape(self, name: str) -> tuple[int, ...]:
        """Raises SourceUnusable if the tensor is missing or has a type that is not supported."""
        place = self._places.get(name)
        if place is None:
            raise SourceUnusable(
                self.folder / self.main_file, f"the tensor {name} is missing", _AGAIN
            )
        if place.dtype not in _TYPES:
            raise SourceUnusable(
                place.file,
                f"{name} is stored as {place.dtype}",
                f"Name the original weights, which are stored as {', '.join(_TYPES)}.",
            )
        return place.shape

    def tensor(self, name: str) -> NDArray[np.float32]:
        return next(self.row_blocks(name, max(1, self.shape(name)[0])))

    def row_blocks(self, name: str, rows: int) -> Iterator[NDArray[np.float32]]:
        """The tensor along its first axis, at most `rows` entries at a time."""
        count, file = self.shape(name)[0], self._places[name].file
        for first in range(0, max(1, count), rows):
            try:
                with safe_open(file, framework="numpy") as opened:
                    stored = opened.get_slice(name)[first : min(first + rows, count)]
            except (OSError, SafetensorError) as error:
                raise unreadable(file, error) from error
            values = _as_float32(stored)
            del stored
            if not np.isfinite(values).all():
                raise SourceUnusable(file, f"{name} holds numbers that are not finite", _AGAIN)
            yield values


def unreadable(file: Path, error: Exception) -> SourceUnusable:
    """The error for a file that could not be read, with a remedy that fits."""
    if isinstance(error, FileNotFoundError):
        return SourceUnusable(file, "it is missing", _AGAIN)
    if isinstance(error, PermissionError):
        return SourceUnusable(file, "this user may not read it", _RIGHTS)
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return SourceUnusable(file, f"it is truncated or damaged ({reason})", _AGAIN)


def read_json(file: Path) -> dict[str, Any]:
    """Raises SourceUnusable if the file is missing, unreadable, or holds no JSON object."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise unreadable(file, error) from error
    if not isinstance(found, dict):
        raise SourceUnusable(file, "it holds no JSON object", _AGAIN)
    return found


def _indexed(folder: Path) -> dict[str, Path]:
    """Each tensor's file by the index; empty if there is no index."""
    index = folder / INDEX_FILE
    try:
        if not index.exists():
            return {}
    except PermissionError as error:
        raise unreadable(index, error) from error
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise SourceUnusable(index, "it names no tensors (weight_map)", _AGAIN)
    for file in places.values():
        # A path could point to any file of this machine.
        if not isinstance(file, str) or not _PLAIN_NAME.fullmatch(file):
            raise SourceUnusable(index, f"it names {file!r}, which is no weights file", _AGAIN)
    return {name: folder / file for name, file in places.items()}


def _places(file: Path) -> dict[str, TensorPlace]:
    places = {}
    try:
        with safe_open(file, framework="numpy") as opened:
            for name in opened.keys():  # noqa: SIM118  it is no mapping
                part = opened.get_slice(name)
                places[name] = TensorPlace(
                    file=file, shape=tuple(part.get_shape()), dtype=part.get_dtype()
                )
    except (OSError, SafetensorError) as error:
        raise unreadable(file, error) from error
    return places


def _as_float32(values: NDArray[Any]) -> NDArray[np.float32]:
    if values.dtype == np.float32:
        return np.asarray(values, np.float32)
    if values.dtype == np.float16:
        return values.astype(np.float32)
    # bfloat16 is the upper half of a float32.
    wide = np.ascontiguousarray(values).view(np.uint16).astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)
