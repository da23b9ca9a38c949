"""What queries read: rows that projections made from the log, and nothing else.

Amounts are integers of micro-credits. Every list is newest first; a page's `next` is the `before`
of the page after it. Whatever belongs to a user is asked for with that user's id, so another
user's rows are never returned.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from domain.pricing.price import Price

T = TypeVar("T")


class ReadModelsUnavailable(Exception):
    """The database with the read models cannot be reached, or is too busy to answer in time."""


class TransactionType(StrEnum):
    PURCHASE = "purchase"
    BONUS = "bonus"
    GRANT = "grant"
    DEBIT = "debit"
    REFUND = "refund"
    ADJUSTMENT = "adjustment"
    EXPIRY = "expiry"


class MessageRole(StrEnum):
    USER = "user"
    ASSISTANT = "assistant"


class MessageStatus(StrEnum):
    """Of a prompt: pending until its answer is there, or has failed. An answer is "answered"."""

    PENDING = "pending"
    ANSWERED = "answered"
    FAILED = "failed"


class ReceiptStatus(StrEnum):
    """OPEN while the answer is under way; RELEASED when nothing was charged."""

    OPEN = "open"
    CHARGED = "charged"
    RELEASED = "released"
    REFUNDED = "refunded"


@dataclass(frozen=True, kw_only=True)
class Page(Generic[T]):
    """next: None on the last page."""

    items: tuple[T, ...]
    next: int | None


@dataclass(frozen=True, kw_only=True)
class BalanceView:
    """position: of the account's last event in this balance. as_of: that event's time."""

    user_id: UUID
    account_id: UUID
    paid_micro: int
    promotional_micro: int
    held_micro: int
    frozen: bool
    as_of: datetime
    position: int

    @property
    def available_micro(self) -> int:
        return self.paid_micro + self.promotional_micro

    @property
    def total_micro(self) -> int:
        return self.available_micro + self.held_micro


@dataclass(frozen=True, kw_only=True)
class TransactionView:
    """amount_micro: below zero when credits went away. balance_after_micro: with held credits."""

    position: int
    transaction_id: UUID
    type: TransactionType
    amount_micro: int
    balance_after_micro: int
    message_id: UUID | None
    description: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class ConversationView:
    """updated_at: of the latest prompt or answer, by which conversations are ordered."""

    conversation_id: UUID
    title: str
    model: str
    message_count: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class MessageView:
    """The fields from finish_reason to latency_ms are an answer's; reply_to: its prompt."""

    position: int
    message_id: UUID
    conversation_id: UUID
    reply_to: UUID | None
    role: MessageRole
    content: str
    model: str
    status: MessageStatus
    finish_reason: str | None
    cost_micro: int | None
    prompt_tokens: int | None
    completion_tokens: int | None
    latency_ms: int | None
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class ReceiptView:
    """Everything that explains what one answer cost. message_id is the answer's.

    held_micro = charged_micro + released_micro as soon as it is settled. The positions name the
    events in the log that prove it: hold, settlement (debit or release), and the answer.
    """

    message_id: UUID
    user_id: UUID
    conversation_id: UUID
    hold_id: UUID
    model: str | None
    manifest_hash: str | None
    status: ReceiptStatus
    reason: str | None
    price: Price | None
    prompt_tokens: int | None
    completion_tokens: int | None
    finish_reason: str | None
    held_micro: int
    charged_micro: int
    released_micro: int
    refunded_micro: int
    held_at: datetime
    settled_at: datetime | None
    hold_position: int
    settlement_position: int | None
    response_position: int | None


@dataclass(frozen=True, kw_only=True)
class ExpiredHold:
    """An open hold whose time has passed; the account says what it is for. expires_at: as the
    database writes it, for finding the next page."""

    hold_id: UUID
    account_id: UUID
    expires_at: str


@dataclass(frozen=True, kw_only=True)
class ExpiredGrant:
    """A grant whose time has passed and of which something is not spent yet. unspent_micro may
    be held for an answer under way, and then there is nothing to take back for now. expires_at: as
    the database writes it."""

    grant_id: UUID
    account_id: UUID
    unspent_micro: int
    expires_at: str


class ReadModels(Protocol):
    """Every method but `wait_for` and `ping` raises ReadModelsUnavailable."""

    async def balance(self, user_id: UUID) -> BalanceView | None: ...

    async def transactions(
        self,
        user_id: UUID,
        *,
        limit: int,
        before: int | None = None,
        position_max: int | None = None,
        type: TransactionType | None = None,  # noqa: A002 - the parameter's name in the API
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Page[TransactionView]:
        """since is inclusive, until is not. position_max: without those that came later."""
        ...

    async def conversations(
        self, user_id: UUID, *, limit: int, before: int | None = None
    ) -> Page[ConversationView]: ...

    async def history(
        self,
        user_id: UUID,
        *,
        limit: int,
        before: int | None = None,
        conversation_id: UUID | None = None,
        model: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        q: str | None = None,
    ) -> Page[MessageView]:
        """q: part of the content, without regard to case. since is inclusive, until is not."""
        ...

    async def receipt(self, user_id: UUID, message_id: UUID) -> ReceiptView | None: ...

    async def expired_holds(
        self, now: datetime, limit: int, after: ExpiredHold | None = None
    ) -> tuple[ExpiredHold, ...]:
        """The longest expired first. after: the last one of the page before."""
        ...

    async def expired_grants(
        self, now: datetime, limit: int, after: ExpiredGrant | None = None
    ) -> tuple[ExpiredGrant, ...]:
        """The longest expired first. after: the last one of the page before."""
        ...

    async def wait_for(self, position: int, timeout_s: float) -> bool:
        """True as soon as every read model holds the event at `position`; False when it does not
        within timeout_s, or when the database cannot be reached."""
        ...

    async def positions(self) -> dict[str, int]:
        """Per projection, the position of the last event it holds; 0 where it holds none."""
        ...

    async def ping(self) -> bool:
        """Whether a query is answered."""
        ...
