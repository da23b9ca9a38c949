"""Stream ids. Where a stream belongs to a value, its id is a UUIDv5 of that value, so that its
first version can be written once: that is the uniqueness rule, and it needs no index."""

import unicodedata
from functools import lru_cache
from uuid import UUID, uuid5

# A UUIDv4 drawn once for this project; changing it would orphan every derived stream.
NAMESPACE = UUID("5b8d2a1e-6f0c-4c57-9a43-0d1c7e9b52aa")


# Kept, because every command asks for it more than once.
@lru_cache(maxsize=10_000)
def account_id(user_id: UUID) -> UUID:
    """The credit account of a user: one each."""
    return uuid5(NAMESPACE, f"account:{user_id}")


def username_claim_id(username: str) -> UUID:
    return uuid5(NAMESPACE, f"username:{username.casefold()}")


def email_claim_id(email: str) -> UUID:
    """The same for every way in which keyboards write one address (NFKC) and for any case."""
    written = unicodedata.normalize("NFKC", email).casefold()
    return uuid5(NAMESPACE, f"email:{written}")


def idempotency_claim_id(owner_id: UUID, key: str) -> UUID:
    return uuid5(NAMESPACE, f"idempotency:{owner_id}:{key}")


def refund_claim_id(message_id: UUID) -> UUID:
    return uuid5(NAMESPACE, f"refund:{message_id}")
