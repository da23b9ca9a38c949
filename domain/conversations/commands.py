"""What can be asked of a conversation."""

from uuid import UUID

from domain.pricing.price import Price
from domain.records import record


@record
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


@record
class RecordResponse:
    user_id: UUID
    response_id: UUID
    text: str
    model: str
    manifest_hash: str
    computed_on: str | None
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    turns_dropped: int
    seed: int | None
    price: Price
    cost_micro: int
    cached: bool
    latency_ms: int


@record
class RecordFailure:
    user_id: UUID
    response_id: UUID
    reason: str


@record
class RenameConversation:
    user_id: UUID
    title: str


@record
class DeleteConversation:
    user_id: UUID


ConversationCommand = (
    SubmitPrompt | RecordResponse | RecordFailure | RenameConversation | DeleteConversation
)
