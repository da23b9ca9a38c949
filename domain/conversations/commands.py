"""What can be asked of a conversation."""

from dataclasses import dataclass
from uuid import UUID

from domain.pricing.price import Price


@dataclass(frozen=True, kw_only=True)
class SubmitPrompt:
    """Starts the conversation when it does not exist yet."""

    conversation_id: UUID
    user_id: UUID
    prompt_id: UUID
    response_id: UUID
    hold_id: UUID
    idempotency_claim_id: UUID | None
    text: str
    model: str
    max_tokens: int
    temperature: float
    top_p: float
    seed: int | None


@dataclass(frozen=True, kw_only=True)
class RecordResponse:
    user_id: UUID
    response_id: UUID
    text: str
    model: str
    manifest_hash: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    turns_dropped: int
    seed: int | None
    price: Price
    cost_micro: int
    cached: bool
    latency_ms: int


@dataclass(frozen=True, kw_only=True)
class RecordFailure:
    user_id: UUID
    response_id: UUID
    reason: str


@dataclass(frozen=True, kw_only=True)
class RenameConversation:
    user_id: UUID
    title: str


@dataclass(frozen=True, kw_only=True)
class DeleteConversation:
    user_id: UUID


ConversationCommand = (
    SubmitPrompt | RecordResponse | RecordFailure | RenameConversation | DeleteConversation
)
