"""The file of the ledger's keys: JSON, readable by its owner only.

{"current": "k1", "keys": {"k1": "<32 random bytes in base64>"}}
"""

import binascii
import json
import os
import secrets
from base64 import b64decode, b64encode
from pathlib import Path

from application.ledger_keys import LedgerKeys

_KEY_BYTES = 32
_FIRST_ID = "k1"


class LedgerKeyError(Exception):
    """The key file cannot be used; the text says what to do."""


def load_ledger_keys(path: Path) -> LedgerKeys:
    """Raises LedgerKeyError, OSError."""
    try:
        content = json.loads(path.read_text(encoding="ascii"))
        keys = {
            key_id: b64decode(secret, validate=True) for key_id, secret in content["keys"].items()
        }
        found = LedgerKeys(content["current"], keys)
    except FileNotFoundError:
        raise LedgerKeyError(
            f"{path} is missing: without its keys nothing in the ledger can be believed; bring it"
            " back from where you keep it"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error):
        raise LedgerKeyError(
            f"{path} is not a file of ledger keys; bring back the one you keep"
        ) from None
    if found.current_id not in keys or any(len(key) < _KEY_BYTES for key in keys.values()):
        raise LedgerKeyError(f"{path} lacks its current key, or has one that is cut short")
    return found


def make_ledger_keys(path: Path) -> LedgerKeys:
    """For a ledger without events. A file that is there already is left as it is.

    Raises LedgerKeyError, OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    secret = b64encode(secrets.token_bytes(_KEY_BYTES)).decode()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return load_ledger_keys(path)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        json.dump({"current": _FIRST_ID, "keys": {_FIRST_ID: secret}}, file)
        file.flush()
        os.fsync(file.fileno())
    return load_ledger_keys(path)
