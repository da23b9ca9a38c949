"""The weights file while it is written: counted, hashed, and resumable.

Tensors come in the same order in every run, so a run that broke off can be taken up: what its
journal lists is in the file already and is not made again. The journal says how long the file was
and what it hashed to when it was last flushed to disk; whatever came after that is cut off, and a
file that hashes to something else is begun anew.
"""

import base64
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

JOURNAL_SUFFIX = ".journal"

# ONNX Runtime maps the file into memory; a page boundary lets it map tensor by tensor.
_PAGE_BYTES = 4096
# Smaller tensors stand in the graph itself: a mapping each would cost more than they weigh.
_INLINE_BYTES_MAX = 16_384
# Flushing to disk less often loses more, more often slows down.
_CHECKPOINT_BYTES = 64 * 1024 * 1024
_READ_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """Bytes in the weights file, or inline when `data` is there."""

    dtype: str
    shape: tuple[int, ...]
    offset: int = 0
    length: int = 0
    data: bytes | None = None


class TensorFile:
    """resume_key: of what is written; a run with the same key takes up what an earlier one left.
    None writes no journal. Leaving the context by an error leaves both files as they are."""

    def __init__(
        self,
        path: Path,
        *,
        resume_key: str | None = None,
        checkpoint_bytes: int = _CHECKPOINT_BYTES,
    ) -> None:
        self._journal = path.with_name(path.name + JOURNAL_SUFFIX)
        self._key = resume_key
        self._checkpoint_bytes = checkpoint_bytes
        self._hash = hashlib.sha256()
        self._tensors: list[StoredTensor] = []
        self._kept = 0
        self.size_bytes = 0
        self._resume(path)
        self._file = path.open("r+b" if self._tensors else "wb")
        self._file.truncate(self.size_bytes)
        self._file.seek(self.size_bytes)
        self._safe_bytes = self.size_bytes

    def __enter__(self) -> "TensorFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if kind is None:
            self._journal.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    @property
    def tensors_resumed(self) -> int:
        """How many tensors an earlier run has left."""
        return self._kept

    def store(self, values: NDArray[Any]) -> StoredTensor:
        return self.store_made(lambda: values)

    def store_made(self, make: Callable[[], NDArray[Any]]) -> StoredTensor:
        """make: called unless an earlier run stored the tensor."""

        def stored() -> StoredTensor:
            values = np.ascontiguousarray(make())
            dtype, shape = str(values.dtype), values.shape
            if values.nbytes <= _INLINE_BYTES_MAX:
                return StoredTensor(dtype=dtype, shape=shape, data=values.tobytes())
            offset = self._begin()
            self._write_array(values)
            return StoredTensor(dtype=dtype, shape=shape, offset=offset, length=values.nbytes)

        return self._next(stored)

    def store_blocks(
        self, dtype: str, shape: tuple[int, ...], blocks: Callable[[], Iterable[NDArray[Any]]]
    ) -> StoredTensor:
        """A tensor that is never whole in memory, along its first axis."""

        def stored() -> StoredTensor:
            offset = self._begin()
            for block in blocks():
                self._write_array(block)
            return StoredTensor(
                dtype=dtype, shape=shape, offset=offset, length=self.size_bytes - offset
            )

        return self._next(stored)

    def checkpoint(self) -> None:
        """What was stored so far belongs together: a later run may begin after it."""
        far = self.size_bytes - self._safe_bytes >= self._checkpoint_bytes
        if self._key is None or not far:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        said = {"key": self._key, "size": self.size_bytes, "sha256": self.sha256}
        said["tensors"] = [_as_json(tensor) for tensor in self._tensors]
        fresh = self._journal.with_name(self._journal.name + ".new")
        fresh.write_text(json.dumps(said))
        fresh.replace(self._journal)
        self._safe_bytes = self.size_bytes

    def _next(self, make: Callable[[], StoredTensor]) -> StoredTensor:
        if self._place < self._kept:
            found = self._tensors[self._place]
        else:
            found = make()
            self._tensors.append(found)
        self._place += 1
        return found

    def _begin(self) -> int:
        """The offset of the next tensor, after padding to a page."""
        self._write(bytes(-self.size_bytes % _PAGE_BYTES))
        return self.size_bytes

    def _write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.size_bytes += len(data)

    def _write_array(self, values: NDArray[Any]) -> None:
        # Through bytes, because memory views know no bfloat16.
        self._write(np.ascontiguousarray(values).view(np.uint8).data.cast("B"))

    def _resume(self, path: Path) -> None:
        self._place = 0
        if self._key is None:
            return
        try:
            said = json.loads(self._journal.read_text())
            tensors = [_from_json(tensor) for tensor in said["tensors"]]
            if said["key"] != self._key or path.stat().st_size < said["size"]:
                return
            digest, left = hashlib.sha256(), int(said["size"])
            with path.open("rb") as file:
                while left and (chunk := file.read(min(left, _READ_BYTES))):
                    digest.update(chunk)
                    left -= len(chunk)
            if digest.hexdigest() != said["sha256"]:
                return
        except (OSError, ValueError, KeyError, TypeError):
            return  # Nothing, or nothing whole, was left.
        self._tensors, self._kept = tensors, len(tensors)
        self._hash, self.size_bytes = digest, int(said["size"])


def _as_json(tensor: StoredTensor) -> dict[str, Any]:
    data = None if tensor.data is None else base64.b64encode(tensor.data).decode()
    return {**asdict(tensor), "data": data}


def _from_json(values: dict[str, Any]) -> StoredTensor:
    data = None if values["data"] is None else base64.b64decode(values["data"])
    return StoredTensor(**{**values, "shape": tuple(values["shape"]), "data": data})
