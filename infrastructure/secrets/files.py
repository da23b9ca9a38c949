"""Secrets that the operator does not set: drawn at random once, and kept in the data folder in
files that only their owner can read."""

import os
import secrets
from pathlib import Path


def secret_from(configured: str, path: Path) -> str:
    """The configured secret, or the one in `path`, which is made when it is missing.

    Raises OSError when the folder cannot be written, or the file is empty.
    """
    if configured:
        return configured
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        drawn = path.read_text(encoding="ascii").strip()
        if not drawn:  # An empty key would let anybody sign.
            raise OSError(
                f"{path} is empty; delete it, and the next start draws a new secret"
            ) from None
        return drawn
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        secret = secrets.token_urlsafe(48)
        file.write(secret)
    return secret
