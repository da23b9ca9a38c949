"""The keys that prove that the ledger itself wrote what its database, or NATS, hands back.

They lie where neither of the two can read them. What is made under the current key carries the
key's id, so that keys can be rotated: old ones go on proving what was made under them.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

MAC_BYTES = 32
_BLOCK_BYTES = 64
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))

Secrets = Mapping[str, bytes]


class _Hash(Protocol):
    """A hash object of hashlib, whose type has no public name."""

    def copy(self) -> "_Hash": ...

    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class UnknownKey(Exception):
    """A MAC names a key that is not in the key file."""


class MacKeys:
    """Keys for one purpose. current_id: of the one that new MACs are made under.

    renew: reads the secrets again, because another process may have added a key. It is called for
    every unknown id, and strangers can send many of those.
    """

    def __init__(
        self, current_id: str, secrets: Secrets, renew: Callable[[], Secrets] | None = None
    ) -> None:
        self.current_id = current_id
        self._secrets = dict(secrets)
        self._renew = renew
        self._begun: dict[str, tuple[_Hash, _Hash]] = {}

    def __getstate__(self) -> dict[str, object]:
        """Hash objects cannot be sent to other processes, which make their own."""
        return self.__dict__ | {"_begun": {}}

    def mac(self, message: bytes) -> bytes:
        """HMAC-SHA-256 (RFC 2104) under the current key."""
        return self.mac_under(self.current_id, message)

    def mac_under(self, key_id: str, message: bytes) -> bytes:
        """Raises UnknownKey."""
        # These hashes have read the key already. For a message as short as an event that takes half
        # the time of `hmac.digest`.
        inner, outer = self._begun.get(key_id) or self._begin(key_id)
        hashed = inner.copy()
        hashed.update(message)
        whole = outer.copy()
        whole.update(hashed.digest())
        return whole.digest()

    def proves(self, key_id: str, mac: bytes, message: bytes) -> bool:
        """Whether `mac` was made of `message` under that key; compared in constant time.

        Raises UnknownKey.
        """
        return hmac.compare_digest(mac, self.mac_under(key_id, message))

    def _begin(self, key_id: str) -> "tuple[_Hash, _Hash]":
        secret = self._find(key_id)
        if len(secret) > _BLOCK_BYTES:
            secret = sha256(secret).digest()
        block = secret.ljust(_BLOCK_BYTES, b"\0")
        begun = sha256(block.translate(_INNER)), sha256(block.translate(_OUTER))
        self._begun[key_id] = begun
        return begun

    def _find(self, key_id: str) -> bytes:
        if key_id not in self._secrets and self._renew is not None:
            self._secrets = {**self._secrets, **self._renew()}
        if key_id not in self._secrets:
            raise UnknownKey(key_id)
        return self._secrets[key_id]


@dataclass(frozen=True)
class LedgerKeys:
    """The secrets of the key file. They only serve to derive a key for each purpose, so that a MAC
    for one purpose proves nothing for another.

    reread: the secrets as the file has them now.
    """

    current_id: str
    secrets: Secrets = field(repr=False)
    reread: Callable[[], Secrets] | None = field(default=None, repr=False)

    def for_purpose(self, purpose: str) -> MacKeys:
        """purpose: "events", "snapshots", "messages" …"""
        renew = None if self.reread is None else _Renewal(purpose, self.reread)
        return MacKeys(self.current_id, _derived(purpose, self.secrets), renew)


@dataclass(frozen=True)
class _Renewal:
    purpose: str
    reread: Callable[[], Secrets] = field(repr=False)

    def __call__(self) -> Secrets:
        return _derived(self.purpose, self.reread())


def _derived(purpose: str, secrets: Secrets) -> Secrets:
    label = f"chatledger {purpose}".encode()
    return {key_id: hmac.digest(secret, label, sha256) for key_id, secret in secrets.items()}
