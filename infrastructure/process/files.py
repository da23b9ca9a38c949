"""Files that are there as a whole or not at all, even after a crash."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def new_private_file(path: Path, refusal: type[Exception]) -> Iterator[Path]:
    """A file to write, which only its owner may read. It gets the name `path` when the context ends
    without an error, and is removed otherwise.

    Raises refusal with what to do if `path` exists or its folder does not; OSError.
    """
    if path.exists():
        raise refusal(f"{path} is there already; choose another name")
    if not path.parent.is_dir():
        raise refusal(f"there is no folder {path.parent}; make it, or choose another")
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    try:
        yield partial
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def flush_to_disk(path: Path) -> None:
    """Make a file's content, or the names in a folder, survive a power cut. Raises OSError."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders.
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
