"""Conversations and their messages, as their owner sees them.

The answer's row is made with its prompt, as pending, and filled in by the answer: where the
conversation was deleted meanwhile there is no row left to fill, and nothing deleted comes back.
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
from domain.events import Event
from projections.row_changes import Delete, Increment, RowChanges, Update, Upsert, Value

CONVERSATIONS = "conversations"
MESSAGES = "messages"
EVENTS: tuple[type[Event], ...] = (
    ConversationStarted,
    PromptSubmitted,
    ResponseGenerated,
    ResponseFailed,
    ConversationRenamed,
    ConversationDeleted,
)


def project(event: Event, position: int) -> RowChanges:
    match event:
        case ConversationStarted():
            yield Upsert(
                CONVERSATIONS,
                {"conversation_id": event.originator_id},
                {
                    "user_id": event.user_id,
                    "title": event.title,
                    "model": event.model,
                    "message_count": 0,
                    "created_at": event.timestamp,
                    "updated_at": event.timestamp,
                    "updated_position": position,
                },
            )
        case PromptSubmitted():
            yield from _prompt(event, position)
            yield from _moved(event, position)
        case ResponseGenerated():
            yield from _answer(event, position)
            yield from _moved(event, position)
        case ResponseFailed():
            yield Update(MESSAGES, {"message_id": event.prompt_id}, {"status": "failed"})
            yield Delete(MESSAGES, {"message_id": event.response_id})
        case ConversationRenamed():
            yield Update(
                CONVERSATIONS, {"conversation_id": event.originator_id}, {"title": event.title}
            )
        case ConversationDeleted():
            yield Delete(CONVERSATIONS, {"conversation_id": event.originator_id})
            yield Delete(MESSAGES, {"conversation_id": event.originator_id})


def _prompt(event: PromptSubmitted, position: int) -> RowChanges:
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
    yield Upsert(MESSAGES, {"message_id": event.prompt_id}, both | prompt)
    yield Upsert(MESSAGES, {"message_id": event.response_id}, both | answer)


def _answer(event: ResponseGenerated, position: int) -> RowChanges:
    yield Update(MESSAGES, {"message_id": event.prompt_id}, {"status": "answered"})
    yield Update(
        MESSAGES,
        {"message_id": event.response_id},
        {
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
        },
    )


def _moved(event: PromptSubmitted | ResponseGenerated, position: int) -> RowChanges:
    where = {"conversation_id": event.originator_id}
    yield Increment(CONVERSATIONS, where, {"message_count": 1})
    yield Update(
        CONVERSATIONS,
        where,
        {"model": event.model, "updated_at": event.timestamp, "updated_position": position},
    )
