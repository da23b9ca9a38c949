"""What the application needs from outside, beside the event store and the language model."""

from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class PasswordTurn:
    """For whom a password is worked on. owner: owners take turns; an address. known: the account's
    owner has been there before, or an operator asks, and no budget of strangers counts it.
    account: who is known."""

    owner: str
    known: bool
    account: UUID | None = None


OPERATOR = PasswordTurn(owner="operator", known=True)


class PasswordsBusy(Exception):
    """More passwords wait to be worked on than the service takes. Nothing was done."""

    def __init__(self, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__("too many people sign in or register at this moment; try again shortly")


class PasswordHasher(Protocol):
    """Slow by design: implementations work in threads, and everything raises PasswordsBusy."""

    async def hash(self, password: str, turn: PasswordTurn) -> str: ...

    async def verify(self, password: str, password_hash: str, turn: PasswordTurn) -> bool: ...

    async def verify_nobody(self, password: str, turn: PasswordTurn) -> None:
        """Spends the time of a check, so that an unknown username answers as slowly as a wrong
        password and cannot be told from it."""
        ...


class PasswordStrength(Protocol):
    async def is_easily_guessed(
        self, password: str, *, about: tuple[str, ...], turn: PasswordTurn
    ) -> bool:
        """about: what a stranger knows of the person and would try first. Raises PasswordsBusy."""
        ...
