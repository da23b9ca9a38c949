"""The fold of a conversation: what the next prompt needs to know of the earlier ones."""

from uuid import UUID

from domain.conversations.events import (
    ConversationDeleted,
    ConversationEvent,
    ConversationRenamed,
    ConversationStarted,
    PromptSubmitted,
    ResponseFailed,
    ResponseGenerated,
)
from domain.records import changed, record

# A model's window ends long before this; the log keeps everything.
EXCHANGES_REMEMBERED_MAX = 256


@record
class Exchange:
    """response_text is None while the answer is under way."""

    prompt_id: UUID
    response_id: UUID
    hold_id: UUID
    idempotency_claim_id: UUID | None
    prompt_text: str
    response_text: str | None


@record
class ConversationState:
    """answered: finished exchanges in the order in which they were answered; open: under way.
    forgotten: how many were answered before those. An exchange that failed, or whose answer has no
    text, is dropped: its prompt is not part of the context."""

    id: UUID
    version: int
    user_id: UUID
    title: str
    answered: tuple[Exchange, ...] = ()
    open: tuple[Exchange, ...] = ()
    forgotten: int = 0
    deleted: bool = False

    def open_exchange(self, response_id: UUID) -> Exchange | None:
        # Integers are compared faster than UUIDs.
        wanted = response_id.int
        for exchange in self.open:
            if exchange.response_id.int == wanted:
                return exchange
        return None


def evolve(state: ConversationState | None, event: ConversationEvent) -> ConversationState:
    """Never rejects history."""
    if isinstance(event, ConversationStarted):
        return ConversationState(
            id=event.originator_id,
            version=event.originator_version,
            user_id=event.user_id,
            title=event.title,
        )
    assert state is not None, "a conversation's first event is ConversationStarted"
    return changed(state, version=event.originator_version, **_changes(state, event))


def _changes(state: ConversationState, event: ConversationEvent) -> dict[str, object]:
    """The fields that the event changes, beside the version."""
    match event:
        case PromptSubmitted():
            exchange = Exchange(
                prompt_id=event.prompt_id,
                response_id=event.response_id,
                hold_id=event.hold_id,
                idempotency_claim_id=event.idempotency_claim_id,
                prompt_text=event.text,
                response_text=None,
            )
            return {"open": (*state.open, exchange)}
        case ResponseGenerated():
            answered_or_none = state.open_exchange(event.response_id)
            if answered_or_none is None:
                return {}
            still_open = _without(state.open, answered_or_none)
            if not event.text:
                return {"open": still_open}
            answered = (*state.answered, changed(answered_or_none, response_text=event.text))
            kept = answered[-EXCHANGES_REMEMBERED_MAX:]
            return {
                "answered": kept,
                "forgotten": state.forgotten + len(answered) - len(kept),
                "open": still_open,
            }
        case ResponseFailed():
            failed_or_none = state.open_exchange(event.response_id)
            return {} if failed_or_none is None else {"open": _without(state.open, failed_or_none)}
        case ConversationRenamed():
            return {"title": event.title}
        case ConversationDeleted():
            return {"deleted": True, "answered": ()}
        case ConversationStarted():
            return {}


def _without(exchanges: tuple[Exchange, ...], closed: Exchange) -> tuple[Exchange, ...]:
    return tuple([exchange for exchange in exchanges if exchange is not closed])
