"""The file of the ledger's keys: JSON, readable by its owner only.

{"current": "3f9a1c5e", "keys": {"3f9a1c5e": "<32 random bytes in base64>"}}
"""

import binascii
import json
import os
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

import structlog

from application.ledger_keys import LedgerKeys

log = structlog.get_logger()

_KEY_BYTES = 32
# Drawn, so that the keys of two ledgers never have one id.
_ID_BYTES = 4
_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


class LedgerKeyError(Exception):
    """The key file cannot be used; the text says what to do."""


@dataclass(frozen=True)
class _Reread:
    path: Path

    def __call__(self) -> Mapping[str, bytes]:
        """Nothing where the file cannot be read: what is known already stays."""
        try:
            return load_ledger_keys(self.path).secrets
        except (LedgerKeyError, OSError) as error:
            log.warning("ledger_keys_not_read", error=str(error))
            return {}


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
            f"{path} is missing: without its keys nothing in the ledger can be believed; bring it"
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
    """For a ledger without events. A file that is there already is left as it is.

    Raises LedgerKeyError, OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    key_id, key = _new_key()
    whole = _written_beside(path, key_id, {key_id: key})
    try:
        # Of two who make it at once, the second takes what the first has made.
        os.link(whole, path)
    except FileExistsError:
        pass
    finally:
        whole.unlink()
    return load_ledger_keys(path)


def rotate_ledger_keys(path: Path) -> str:
    """A new key, which becomes the current one, beside those that are there; returns its id.

    Raises LedgerKeyError, OSError.
    """
    known = load_ledger_keys(path)
    key_id, key = _new_key()
    _written_beside(path, key_id, {**known.secrets, key_id: key}).replace(path)
    return key_id


def _new_key() -> tuple[str, bytes]:
    return secrets.token_hex(_ID_BYTES), secrets.token_bytes(_KEY_BYTES)


def _written_beside(path: Path, current: str, keys: Mapping[str, bytes]) -> Path:
    """On the disk, readable by its owner only."""
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
