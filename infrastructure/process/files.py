"""Files that are there as a whole or not at all, even after a crash."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def new_private_file(path: Path, refusal: type[Exception]) -> Iterator[Path]:
    """A file to write, which only its owner may read. It gets the name `path` when the context ends
    without an error, and is removed otherwise.

    Raises refusal with what to do if `path` exists, if its folder does not, or if another run
    writes the same file; OSError.
    """
    if path.exists():
        raise refusal(f"{path} is there already; choose another name")
    if not path.parent.is_dir():
        raise refusal(f"there is no folder {path.parent}; make it, or choose another")
    partial = path.with_name(f".{path.name}.partial")
    # A run that was killed has left it. If the run still goes on, it will be refused below.
    partial.unlink(missing_ok=True)
    # Never follows a link that somebody has put there since.
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        yield partial
        if path.exists() or not _is_open_as(descriptor, partial):
            raise refusal(f"another run has written {path} meanwhile; choose another name")
        os.fsync(descriptor)
    except BaseException:
        is_ours = _is_open_as(descriptor, partial)
        os.close(descriptor)
        if is_ours:
            partial.unlink()
        raise
    os.close(descriptor)  # Windows gives no open file another name.
    partial.rename(path)
    flush_to_disk(path.parent)


def _is_open_as(descriptor: int, path: Path) -> bool:
    """Whether the file with this name is the open one."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    return False


def flush_to_disk(path: Path) -> None:
    """Make a file's content, or the names in a folder, survive a power cut. Raises OSError."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders.
    descriptor = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
