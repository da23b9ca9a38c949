"""What can be asked of the chat process, and within which limits."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from domain.claims.idempotency import IdempotencyKey
from domain.pricing.price import Price


@dataclass(frozen=True, kw_only=True)
class SendMessage:
    """max_tokens None is the most the service gives; temperature 0 is greedy."""

    user_id: UUID
    text: str
    model: str | None
    conversation_id: UUID | None
    max_tokens: int | None
    temperature: float
    top_p: float
    seed: int | None
    key: IdempotencyKey | None


@dataclass(frozen=True, kw_only=True)
class Quote:
    """What a message would cost at most, and how long its answer could be for that."""

    model: str
    price: Price
    prompt_tokens: int
    turns_dropped: int
    max_tokens: int
    cost_micro_max: int
    available_micro: int


@dataclass(frozen=True, kw_only=True)
class ChatLimits:
    """generation_timeout must end well before hold_ttl, so that an answer in time can always be
    paid for from its hold."""

    response_tokens_max: int
    generation_timeout: timedelta
    hold_ttl: timedelta
    settle_retry: timedelta

    def __post_init__(self) -> None:
        assert self.generation_timeout + self.settle_retry <= self.hold_ttl
