"""The keys that prove that the ledger itself wrote what its database, or NATS, hands back.

They lie where neither of the two can read them. What is made under the current key carries the
key's id, so that keys can be rotated: old ones go on proving what was made under them.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

MAC_BYTES = 32


class UnknownKey(Exception):
    """A MAC names a key that is not in the key file."""


@dataclass(frozen=True)
class MacKeys:
    """Keys for one purpose. current_id: of the one that new MACs are made under."""

    current_id: str
    secrets: Mapping[str, bytes] = field(repr=False)

    def mac(self, message: bytes) -> bytes:
        """HMAC-SHA-256 (RFC 2104) under the current key."""
        return hmac.digest(self.secrets[self.current_id], message, sha256)

    def proves(self, key_id: str, mac: bytes, message: bytes) -> bool:
        """Whether `mac` was made of `message` under that key, in a time that tells nothing.

        Raises UnknownKey.
        """
        secret = self.secrets.get(key_id)
        if secret is None:
            raise UnknownKey(key_id)
        return hmac.compare_digest(mac, hmac.digest(secret, message, sha256))


@dataclass(frozen=True)
class LedgerKeys:
    """The secrets of the key file. Nothing is made under them but the keys of single purposes, so
    that a MAC for one purpose proves nothing for another."""

    current_id: str
    secrets: Mapping[str, bytes] = field(repr=False)

    def for_purpose(self, purpose: str) -> MacKeys:
        """purpose: "events", "snapshots", "messages" …"""
        label = f"chatledger {purpose}".encode()
        derived = {
            key_id: hmac.digest(secret, label, sha256) for key_id, secret in self.secrets.items()
        }
        return MacKeys(self.current_id, derived)
