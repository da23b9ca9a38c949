"""What becomes of one message: held for, generated, and settled or failed."""

from dataclasses import replace
from uuid import UUID

from application.chat.inference import FinishReason
from domain.pricing.price import Price
from domain.records import record


@record
class Started:
    """What commit 1 fixed. message_id: the answer's."""

    user_id: UUID
    message_id: UUID
    prompt_id: UUID
    conversation_id: UUID
    hold_id: UUID
    held_micro: int
    model: str
    price: Price
    max_tokens: int
    turns_dropped: int = 0


@record
class Generated:
    """What the model delivered until it was done or stopped."""

    text: str
    finish_reason: FinishReason
    completion_tokens: int
    seed: int | None
    manifest_hash: str | None
    cached: bool = False


@record
class Answer:
    """What commit 2 recorded.

    position: in the log, of its last event. A replay has none of its own and carries the recorded
    one. turns_dropped: turns of the conversation that did not fit the model's window; answers that
    were recorded by earlier versions have none.
    """

    message_id: UUID
    conversation_id: UUID
    model: str
    response: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cost_micro: int
    available_micro: int
    held_micro: int
    cached: bool
    latency_ms: int
    turns_dropped: int = 0
    replayed: bool = False
    position: int | None = None

    def as_replay(self) -> "Answer":
        return replace(self, replayed=True)


class GenerationFailed(Exception):
    """There is no answer and nothing was charged. reason: as in ResponseFailed."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the answer could not be generated ({reason}); nothing was charged")
