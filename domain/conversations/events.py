"""Facts about one conversation: prompts, and the answers they got or did not get."""

from typing import Any, ClassVar
from uuid import UUID

from domain.events import Event, PersonalText
from domain.pricing.price import Price
from domain.records import record


@record
class ConversationStarted(Event):
    TOPIC: ClassVar[str] = "conversation.started"

    user_id: UUID
    title: PersonalText
    model: str


@record
class PromptSubmitted(Event):
    """response_id: the answer's id, fixed before it exists, so that hold, debit and answer name
    each other. hold_id is the hold that pays for it.
    idempotency_claim_id: the claim that waits for this answer, if the client sent a key."""

    TOPIC: ClassVar[str] = "conversation.prompt_submitted"

    user_id: UUID
    prompt_id: UUID
    response_id: UUID
    hold_id: UUID
    idempotency_claim_id: UUID | None
    text: PersonalText
    model: str
    max_tokens: int
    temperature: float
    top_p: float
    seed: int | None


@record
class ResponseGenerated(Event):
    """text: empty where the model gave none, which is free. manifest_hash cites the exact weights.
    computed_on: build and class of processor, on which the tokens depend beside weights, prompt and
    seed; None where it is not known, as in answers from before it was noted. finish_reason: "stop",
    "length", "cancelled", "timeout" or "error". turns_dropped: earlier turns that did not fit the
    model's window, whole exchanges. latency_ms: from the command to the last token."""

    TOPIC: ClassVar[str] = "conversation.response_generated"
    class_version: ClassVar[int] = 2

    user_id: UUID
    prompt_id: UUID
    response_id: UUID
    hold_id: UUID
    text: PersonalText
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

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        state["computed_on"] = None


@record
class ResponseFailed(Event):
    """reason: "failed", "cancelled", "timeout" or "expired"; "empty" in old logs, where an answer
    without text was no answer."""

    TOPIC: ClassVar[str] = "conversation.response_failed"

    user_id: UUID
    prompt_id: UUID
    response_id: UUID
    hold_id: UUID
    reason: str


@record
class ConversationRenamed(Event):
    TOPIC: ClassVar[str] = "conversation.renamed"

    user_id: UUID
    title: PersonalText


@record
class ConversationDeleted(Event):
    """Hidden from its owner; what it cost stays explained."""

    TOPIC: ClassVar[str] = "conversation.deleted"

    user_id: UUID


ConversationEvent = (
    ConversationStarted
    | PromptSubmitted
    | ResponseGenerated
    | ResponseFailed
    | ConversationRenamed
    | ConversationDeleted
)
