"""Conversations and their messages, as their owner sees them.

The answer's row is made together with its prompt's, as pending, and the answer fills it in. Where
the conversation was deleted meanwhile, there is no row left to fill, so nothing deleted comes back.
Queries leave pending answers out.
"""

from domain.conversations.events import (
    ConversationDeleted,
    ConversationRenamed,
    ConversationStarted,
    PromptSubmitted,
    ResponseFailed,
    ResponseGenerated,
)
from projections.row_changes import (
    Delete,
    Handlers,
    Increment,
    RowChange,
    RowChanges,
    Update,
    Upsert,
    Value,
    on,
)

CONVERSATIONS = "conversations"
MESSAGES = "messages"


def _started(event: ConversationStarted, position: int) -> RowChanges:
    values: dict[str, Value] = {
        "user_id": event.user_id,
        "title": event.title,
        "model": event.model,
        "message_count": 0,
        "created_at": event.timestamp,
        "updated_at": event.timestamp,
        "updated_position": position,
    }
    return (Upsert(CONVERSATIONS, {"conversation_id": event.originator_id}, values),)


def _prompted(event: PromptSubmitted, position: int) -> RowChanges:
    both: dict[str, Value] = {
        "conversation_id": event.originator_id,
        "user_id": event.user_id,
        "model": event.model,
        "status": "pending",
        "created_at": event.timestamp,
        "position": position,
    }
    prompt: dict[str, Value] = {"reply_to": None, "role": "user", "content": event.text}
    answer: dict[str, Value] = {"reply_to": event.prompt_id, "role": "assistant", "content": ""}
    return (
        Upsert(MESSAGES, {"message_id": event.prompt_id}, both | prompt),
        Upsert(MESSAGES, {"message_id": event.response_id}, both | answer),
        *_moved(event, position),
    )


def _answered(event: ResponseGenerated, position: int) -> RowChanges:
    values: dict[str, Value] = {
        "content": event.text,
        "model": event.model,
        "status": "answered",
        "finish_reason": event.finish_reason,
        "cost_micro": event.cost_micro,
        "prompt_tokens": event.prompt_tokens,
        "completion_tokens": event.completion_tokens,
        "latency_ms": event.latency_ms,
        "created_at": event.timestamp,
        "position": position,
    }
    return (
        Update(MESSAGES, {"message_id": event.prompt_id}, {"status": "answered"}),
        Update(MESSAGES, {"message_id": event.response_id}, values),
        *_moved(event, position),
    )


def _moved(
    event: PromptSubmitted | ResponseGenerated, position: int
) -> tuple[RowChange, RowChange]:
    where = {"conversation_id": event.originator_id}
    values: dict[str, Value] = {
        "model": event.model,
        "updated_at": event.timestamp,
        "updated_position": position,
    }
    return (
        Increment(CONVERSATIONS, where, {"message_count": 1}),
        Update(CONVERSATIONS, where, values),
    )


def _failed(event: ResponseFailed, _position: int) -> RowChanges:
    return (
        Update(MESSAGES, {"message_id": event.prompt_id}, {"status": "failed"}),
        Delete(MESSAGES, {"message_id": event.response_id}),
    )


def _renamed(event: ConversationRenamed, _position: int) -> RowChanges:
    where = {"conversation_id": event.originator_id}
    return (Update(CONVERSATIONS, where, {"title": event.title}),)


def _deleted(event: ConversationDeleted, _position: int) -> RowChanges:
    where = {"conversation_id": event.originator_id}
    return (Delete(CONVERSATIONS, where), Delete(MESSAGES, where))


HANDLERS: Handlers = dict(
    [
        on(ConversationStarted, _started),
        on(PromptSubmitted, _prompted),
        on(ResponseGenerated, _answered),
        on(ResponseFailed, _failed),
        on(ConversationRenamed, _renamed),
        on(ConversationDeleted, _deleted),
    ]
)
