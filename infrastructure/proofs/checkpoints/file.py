"""Checkpoints as lines of a file that is only ever appended to."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from uuid import UUID

from infrastructure.process.files import flush_to_disk
from infrastructure.proofs.checkpoints.records import BadRecord, SignedCheckpoint

# More than any record takes.
_LINE_BYTES_MAX = 4096


class CheckpointFile:
    """Each log has one, named by its id. Only one process at a time may append to it."""

    def __init__(self, folder: Path, log: UUID) -> None:
        self.path = folder / f"{log}.jsonl"

    def add(self, records: Sequence[SignedCheckpoint]) -> None:
        """Append the records. They are on the disk when it returns. Raises OSError."""
        is_new = not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            text = b"".join(record.line.encode("ascii") + b"\n" for record in records)
            os.write(descriptor, _line_end(descriptor) + text)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            flush_to_disk(self.path.parent)

    def last(self) -> SignedCheckpoint | None:
        """The newest whole record. Lines that a crash has left incomplete are skipped."""
        try:
            with self.path.open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                while end:
                    start = max(0, end - _LINE_BYTES_MAX)
                    file.seek(start)
                    lines = file.read(end - start).split(b"\n")
                    for line in reversed(lines if start == 0 else lines[1:]):
                        try:
                            return SignedCheckpoint.from_line(line)
                        except BadRecord:
                            continue
                    end = start if start == 0 else start + len(lines[0])
                    if end == start + _LINE_BYTES_MAX:
                        return None  # No line of ours is this long.
        except FileNotFoundError:
            pass
        return None

    def __iter__(self) -> Iterator[SignedCheckpoint | str]:
        """The record of every line, or what is wrong with the line. Empty if there is no file."""
        try:
            with self.path.open("rb") as file:
                yield from read_records(file, str(self.path))
        except FileNotFoundError:
            return


def read_records(lines: Iterable[bytes], name: str) -> Iterator[SignedCheckpoint | str]:
    """The record of every line, or what is wrong with the line. name: of the lines' source."""
    for number, line in enumerate(lines, 1):
        try:
            yield SignedCheckpoint.from_line(line)
        except BadRecord as error:
            yield f"line {number} of {name}: {error}"


def _line_end(descriptor: int) -> bytes:
    """A line end if a crash has left the last line without one."""
    size = os.fstat(descriptor).st_size
    return b"\n" if size and os.pread(descriptor, 1, size - 1) != b"\n" else b""
