"""Reads GGUF files: the header at once, long arrays and tensors when they are asked for.

The `gguf` package's own reader builds one object for each vocabulary entry (9 s and 700 MB for
Gemma's 262,144 tokens). So only its dequantisers are used.
Source of the format: gguf.md in the documentation of the ggml project.
"""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from infrastructure.inference.prepared.errors import ModelFileDamaged

_MAGIC = 0x46554747
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q"}
_SCALARS[12] = "d"
_ALIGNMENT_DEFAULT = 32

Scalar = int | float | bool | str


@dataclass(frozen=True, kw_only=True)
class _ArrayPlace:
    element_type: int
    count: int
    offset: int


@dataclass(frozen=True, kw_only=True)
class _TensorPlace:
    """shape: rows first (GGUF stores the dimensions in reverse)."""

    shape: tuple[int, ...]
    ggml_type: int
    offset: int


class GgufFile:
    """A memory-mapped GGUF file. Everything raises ModelFileDamaged if it is not as expected."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.stat().st_size == 0:
            raise ModelFileDamaged(path, "it is empty")
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.scalars: dict[str, Scalar] = {}
        self._arrays: dict[str, _ArrayPlace] = {}
        self._tensors: dict[str, _TensorPlace] = {}
        try:
            self._read_header()
        except (struct.error, KeyError, UnicodeDecodeError, IndexError) as error:
            raise ModelFileDamaged(path, f"its GGUF header cannot be read ({error})") from error

    def __enter__(self) -> "GgufFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._map.close()

    def number(self, key: str, default: float | None = None) -> float:
        value = self.scalars.get(key, default)
        if value is None or isinstance(value, str):
            raise ModelFileDamaged(self.path, f"the number {key} is missing")
        return value

    def strings(self, key: str) -> list[str]:
        place = self._array(key, _STRING)
        position, found = place.offset, []
        for _ in range(place.count):
            text, position = self._string(position)
            found.append(text)
        return found

    def integers(self, key: str) -> NDArray[np.int32]:
        place = self._array(key, 5)
        return np.frombuffer(self._map, dtype="<i4", count=place.count, offset=place.offset)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._tensor(name).shape

    def tensor(self, name: str) -> NDArray[np.float32]:
        """The whole tensor, dequantised."""
        return next(self.row_blocks(name, max(1, self._tensor(name).shape[0])))

    def row_blocks(self, name: str, rows: int) -> Iterator[NDArray[np.float32]]:
        """The tensor's rows, dequantised, at most `rows` at a time."""
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
        from gguf.quants import dequantize

        place = self._tensor(name)
        kind = GGMLQuantizationType(place.ggml_type)
        block_elements, block_bytes = GGML_QUANT_SIZES[kind]
        row_bytes = place.shape[-1] // block_elements * block_bytes
        count = 1 if len(place.shape) == 1 else place.shape[0]
        for first in range(0, count, rows):
            taken = min(rows, count - first)
            offset = place.offset + first * row_bytes
            raw = np.frombuffer(self._map, dtype=np.uint8, count=taken * row_bytes, offset=offset)
            values = np.asarray(dequantize(raw.reshape(taken, row_bytes), kind), dtype=np.float32)
            self._forget(offset, taken * row_bytes)
            yield values.reshape(-1) if len(place.shape) == 1 else values

    def _forget(self, offset: int, size: int) -> None:
        """Unload pages that were read: mapped pages count as this process's memory."""
        if hasattr(mmap, "MADV_DONTNEED"):
            first = offset // mmap.PAGESIZE * mmap.PAGESIZE
            self._map.madvise(mmap.MADV_DONTNEED, first, offset + size - first)

    def _tensor(self, name: str) -> _TensorPlace:
        if name not in self._tensors:
            raise ModelFileDamaged(self.path, f"the tensor {name} is missing")
        return self._tensors[name]

    def _array(self, key: str, element_type: int) -> _ArrayPlace:
        place = self._arrays.get(key)
        if place is None or place.element_type != element_type:
            raise ModelFileDamaged(self.path, f"the array {key} is missing")
        return place

    def _read_header(self) -> None:
        magic, version, tensor_count, pair_count = struct.unpack_from("<IIQQ", self._map, 0)
        if magic != _MAGIC or version not in (2, 3):
            raise ModelFileDamaged(self.path, "it is not a GGUF file of version 2 or 3")
        position = 24
        for _ in range(pair_count):
            position = self._read_pair(position)
        places: dict[str, _TensorPlace] = {}
        for _ in range(tensor_count):
            name, position = self._string(position)
            (dimensions,) = struct.unpack_from("<I", self._map, position)
            *sizes, kind, offset = struct.unpack_from(f"<{dimensions}QIQ", self._map, position + 4)
            position += 4 + dimensions * 8 + 12
            shape = tuple(reversed(sizes))
            places[name] = _TensorPlace(shape=shape, ggml_type=kind, offset=offset)
        alignment = int(self.number("general.alignment", _ALIGNMENT_DEFAULT))
        start = -(-position // alignment) * alignment
        self._tensors = {
            name: _TensorPlace(
                shape=place.shape, ggml_type=place.ggml_type, offset=start + place.offset
            )
            for name, place in places.items()
        }

    def _read_pair(self, position: int) -> int:
        key, position = self._string(position)
        (kind,) = struct.unpack_from("<I", self._map, position)
        position += 4
        if kind == _STRING:
            self.scalars[key], position = self._string(position)
            return position
        if kind != _ARRAY:
            (self.scalars[key],) = struct.unpack_from(f"<{_SCALARS[kind]}", self._map, position)
            return position + struct.calcsize(f"<{_SCALARS[kind]}")
        element_type, count = struct.unpack_from("<IQ", self._map, position)
        position += 12
        self._arrays[key] = _ArrayPlace(element_type=element_type, count=count, offset=position)
        if element_type != _STRING:
            return position + int(count) * struct.calcsize(f"<{_SCALARS[element_type]}")
        for _ in range(count):
            position += 8 + self._length(position)
        return position

    def _string(self, position: int) -> tuple[str, int]:
        start, length = position + 8, self._length(position)
        return str(self._map[start : start + length], "utf-8"), start + length

    def _length(self, position: int) -> int:
        return int(struct.unpack_from("<Q", self._map, position)[0])
