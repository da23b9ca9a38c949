"""Writes the weights file, hashes it on the way, and can resume an interrupted run.

Every run stores its tensors in the same order. So a run can resume an earlier one: the tensors that
the journal lists are in the file and are not made again. The journal holds the file's size and hash
at the last flush to disk. What was written after that is cut off. A file with another hash is
written anew.
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

# ONNX Runtime maps each tensor of the file by itself, which must begin on a page boundary.
_PAGE_BYTES = 4096
# Smaller tensors go into the graph itself: a mapping costs more memory than they take.
_INLINE_BYTES_MAX = 16_384
# Flushes that are rarer lose more work when interrupted; more frequent ones are slower.
_CHECKPOINT_BYTES = 64 * 1024 * 1024
_READ_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """A tensor's place in the weights file in bytes, or its bytes themselves (`data`)."""

    dtype: str
    shape: tuple[int, ...]
    offset: int = 0
    length: int = 0
    data: bytes | None = None


class TensorFile:
    """A context manager. An error within it leaves the file and its journal for the next run.

    resume_key: names what is written. A run resumes an interrupted one with the same key. None
        means no journal.
    checkpoint_bytes: how much is written before `checkpoint` flushes.
    """

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
        """How many tensors were taken over from an interrupted run."""
        return self._kept

    def store(self, values: NDArray[Any]) -> StoredTensor:
        return self.store_made(lambda: values)

    def store_made(self, make: Callable[[], NDArray[Any]]) -> StoredTensor:
        """make: called only if no interrupted run has stored the tensor."""

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
        """Store a tensor in blocks along its first axis, so that it is never whole in memory."""

        def stored() -> StoredTensor:
            offset = self._begin()
            for block in blocks():
                self._write_array(block)
            return StoredTensor(
                dtype=dtype, shape=shape, offset=offset, length=self.size_bytes - offset
            )

        return self._next(stored)

    def checkpoint(self) -> None:
        """Mark a point where a later run may resume. Flushes if enough was written since then."""
        is_due = self.size_bytes - self._safe_bytes >= self._checkpoint_bytes
        if self._key is None or not is_due:
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
        # As bytes, because memoryview has no bfloat16.
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
            return  # There is no interrupted run, or its journal is damaged.
        self._tensors, self._kept = tensors, len(tensors)
        self._hash, self.size_bytes = digest, int(said["size"])


def _as_json(tensor: StoredTensor) -> dict[str, Any]:
    data = None if tensor.data is None else base64.b64encode(tensor.data).decode()
    return {**asdict(tensor), "data": data}


def _from_json(values: dict[str, Any]) -> StoredTensor:
    data = None if values["data"] is None else base64.b64decode(values["data"])
    return StoredTensor(**{**values, "shape": tuple(values["shape"]), "data": data})
