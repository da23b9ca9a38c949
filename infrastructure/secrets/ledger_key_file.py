"""The file of the ledger's keys: JSON, readable by its owner only.

{"current": "3f9a1c5e", "keys": {"3f9a1c5e": "<32 random bytes in base64>"}}
"""

import binascii
import fcntl
import json
import os
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from stat import S_IMODE
from tempfile import NamedTemporaryFile

import structlog

from application.ledger.keys import LedgerKeys

log = structlog.get_logger()

_KEY_BYTES = 32
# Drawn at random, so that keys of two ledgers never share an id.
_ID_BYTES = 4
_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


class LedgerKeyError(Exception):
    """The key file cannot be used; the text says what to do."""


class _Reread:
    """Reads the file again whenever it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._secrets: Mapping[str, bytes] = {}
        self._said: str | None = None

    def __call__(self) -> Mapping[str, bytes]:
        """The secrets by key id; where the file cannot be read, those that were read last."""
        try:
            found = self._path.stat()
            # The time of a change of the inode: a new owner or mode may make the file readable.
            seen = found.st_ino, found.st_ctime_ns
            if seen != self._seen:
                self._seen = seen
                self._secrets = load_ledger_keys(self._path).secrets
        except (LedgerKeyError, OSError) as error:
            if str(error) != self._said:
                self._said = str(error)
                log.warning("ledger_keys_not_read", error=self._said)
        return self._secrets


def load_ledger_keys(path: Path) -> LedgerKeys:
    """Raises LedgerKeyError, OSError."""
    try:
        content = json.loads(path.read_text(encoding="ascii"))
        keys = {
            key_id: b64decode(secret, validate=True) for key_id, secret in content["keys"].items()
        }
        current = str(content["current"])
        ids_right = all(map(_ID.fullmatch, keys))
    except FileNotFoundError:
        raise LedgerKeyError(
            f"{path} is missing: without its keys no event of the ledger can be checked; bring it"
            " back from where you keep it, or set LEDGER_KEYS to where it lies"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        raise LedgerKeyError(
            f"{path} is not a file of ledger keys; bring back the one you keep"
        ) from None
    if current not in keys or not ids_right or any(len(key) < _KEY_BYTES for key in keys.values()):
        raise LedgerKeyError(
            f"{path} lacks its current key, or has one that is cut short; bring back the one you"
            " keep"
        )
    return LedgerKeys(current, keys, _Reread(path))


def make_ledger_keys(path: Path) -> LedgerKeys:
    """Makes the file for a ledger without events, and reads it. An existing file stays as it is.

    Raises LedgerKeyError, OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    key_id, key = _new_key()
    whole = _written_beside(path, key_id, {key_id: key})
    try:
        # When two processes make it at once, the second uses the first one's file.
        os.link(whole, path)
    except FileExistsError:
        pass
    finally:
        whole.unlink()
    return load_ledger_keys(path)


def rotate_ledger_keys(path: Path) -> str:
    """Adds a new key, which becomes the current one; returns its id. The file keeps its owner and
    mode, and a symbolic link stays a link.

    Raises LedgerKeyError, OSError.
    """
    path = path.resolve()
    load_ledger_keys(path)  # Says what is wrong before the folder is opened.
    with _one_at_a_time(path.parent):
        known = load_ledger_keys(path)
        key_id, key = _new_key()
        is_like = path.stat()
        whole = _written_beside(path, key_id, {**known.secrets, key_id: key})
        try:
            os.chown(whole, is_like.st_uid, is_like.st_gid)
            whole.chmod(S_IMODE(is_like.st_mode))
            whole.replace(path)
        except OSError:
            whole.unlink()
            raise
    return key_id


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """So that of two rotations at the same time neither loses the other's key."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _new_key() -> tuple[str, bytes]:
    return secrets.token_hex(_ID_BYTES), secrets.token_bytes(_KEY_BYTES)


def _written_beside(path: Path, current: str, keys: Mapping[str, bytes]) -> Path:
    """The path of a whole file beside `path`: on the disk, and readable by its owner only."""
    content = {
        "current": current,
        "keys": {key_id: b64encode(key).decode() for key_id, key in keys.items()},
    }
    with NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", encoding="ascii", delete=False
    ) as file:
        json.dump(content, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    return Path(file.name)
