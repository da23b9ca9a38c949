"""The address of a visitor of the chat page, as the page passes it to the API.

The page calls the API for all of its visitors, so the API would see one address for all. Page and
API share SECRET_KEY. The page signs the address that it sees under a key derived from that, and the
API believes only addresses with this signature.
"""

import hmac
from base64 import urlsafe_b64encode
from hashlib import sha256

VISITOR_HEADER = "Chatledger-Visitor"
# Enough for two machines whose clocks differ a little, and for a slow request.
SIGNATURE_AGE_S_MAX = 60


def visitor_key(secret_key: str) -> bytes:
    """secret_key: the setting SECRET_KEY, or what stands in its file."""
    return hmac.digest(secret_key.encode(), b"chatledger visitor address", sha256)


def sign_address(address: str, key: bytes, now_s: float) -> str:
    """The header's value. now_s: seconds since 1970."""
    told = f"{address} {int(now_s)}"
    return f"{told} {_mac(told, key)}"


def signed_address(value: str, key: bytes, now_s: float) -> str | None:
    """The address in a header that was signed with this key just now; else None."""
    told, _, mac = value.rpartition(" ")
    if not hmac.compare_digest(mac.encode(), _mac(told, key).encode()):
        return None
    address, _, signed_at = told.rpartition(" ")
    return address if abs(now_s - int(signed_at)) <= SIGNATURE_AGE_S_MAX else None


def _mac(told: str, key: bytes) -> str:
    return urlsafe_b64encode(hmac.digest(key, told.encode(), sha256)).decode().rstrip("=")
