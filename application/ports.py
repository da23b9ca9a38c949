"""What the application needs from outside, beside the event store and the language model."""

from datetime import datetime
from typing import Protocol
from uuid import UUID


class Clock(Protocol):
    def now(self) -> datetime:
        """The time, with its zone (UTC)."""
        ...


class IdSource(Protocol):
    def new_id(self) -> UUID:
        """A fresh id. Ids that sort by time keep the event store's index compact."""
        ...


class PasswordHasher(Protocol):
    """Slow by design: implementations work in a thread."""

    async def hash(self, password: str) -> str: ...

    async def verify(self, password: str, password_hash: str) -> bool: ...

    async def verify_nobody(self, password: str) -> None:
        """Spends the time of a check, so that an unknown username answers as slowly as a wrong
        password and cannot be told from it."""
        ...
