"""The Ed25519 key (RFC 8032) that signs checkpoints, and the public key that checks them."""

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)


class KeyUnusable(Exception):
    """A key file cannot be used. The text names the file and says what to do."""


@dataclass(frozen=True)
class PublicKey:
    raw: bytes

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises KeyUnusable if the file is missing or holds something else."""
        try:
            key = load_pem_public_key(path.read_bytes())
        except OSError as error:
            raise KeyUnusable(f"the public key {path} cannot be read: {error.strerror}") from None
        except (ValueError, UnsupportedAlgorithm):
            raise KeyUnusable(f"{path} holds no public key in PEM") from None
        if not isinstance(key, Ed25519PublicKey):
            raise KeyUnusable(f"{path} holds a public key, but none for Ed25519")
        return cls(key.public_bytes_raw())

    @property
    def id(self) -> str:
        """SHA-256 of the key's 32 bytes, in hexadecimal."""
        return sha256(self.raw).hexdigest()

    @property
    def pem(self) -> str:
        key = Ed25519PublicKey.from_public_bytes(self.raw)
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """Has no repr that could show the key in a log."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key().public_bytes_raw())

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """The key in the file. A missing file is made, which only its owner can read.

        Raises KeyUnusable if the file holds something else, OSError if the folder cannot be
        written.
        """
        if path.exists():
            return cls(_read(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        key = Ed25519PrivateKey.generate()
        # The file appears as a whole, because another process may start at the same moment.
        with NamedTemporaryFile(dir=path.parent, prefix=path.name) as file:
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            file.flush()
            os.fsync(file.fileno())
            try:
                os.link(file.name, path)
            except FileExistsError:
                return cls(_read(path))
        return cls(key)

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes."""
        return self._key.sign(message)


def _read(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyUnusable(
            f"{path} holds no private key in PEM; restore it from your backup, or move it away to"
            " begin with a new key"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable(f"{path} holds a private key, but none for Ed25519")
    return key
