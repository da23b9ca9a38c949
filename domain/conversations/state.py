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
    A failed exchange is dropped: its prompt is not part of the context."""

    id: UUID
    version: int
    user_id: UUID
    title: str
    answered: tuple[Exchange, ...] = ()
    open: tuple[Exchange, ...] = ()
    deleted: bool = False

    def open_exchange(self, response_id: UUID) -> Exchange | None:
        return next((x for x in self.open if x.response_id == response_id), None)


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
    return changed(_apply(state, event), version=event.originator_version)


def _apply(state: ConversationState, event: ConversationEvent) -> ConversationState:
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
            return changed(state, open=(*state.open, exchange))
        case ResponseGenerated():
            exchange_or_none = state.open_exchange(event.response_id)
            state = _close(state, event.response_id)
            if exchange_or_none is None:
                return state
            answered = (*state.answered, changed(exchange_or_none, response_text=event.text))
            return changed(state, answered=answered[-EXCHANGES_REMEMBERED_MAX:])
        case ResponseFailed():
            return _close(state, event.response_id)
        case ConversationRenamed():
            return changed(state, title=event.title)
        case ConversationDeleted():
            return changed(state, deleted=True, answered=())
        case ConversationStarted():
            return state


def _close(state: ConversationState, response_id: UUID) -> ConversationState:
    return changed(state, open=tuple(x for x in state.open if x.response_id != response_id))
