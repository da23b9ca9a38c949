"""Every rule of a conversation.

- It belongs to the user who started it; for anybody else it does not exist.
- A prompt is a message that a person can read, of at most MESSAGE_CHARACTERS_MAX.
- A deleted conversation takes no prompts and no new name; an answer under way is still recorded.
- An answer, or its failure, is recorded once for a prompt that is open.
- An answer without text is free, and later prompts don't know of it.
"""

from datetime import datetime
from typing import assert_never
from uuid import UUID

from domain.conversations import commands as c
from domain.conversations import events as e
from domain.conversations.state import ConversationState, Exchange
from domain.errors import ConversationNotFound, HoldNotOpen
from domain.events import Header, header
from domain.text import MESSAGE_CHARACTERS_MAX, TITLE_CHARACTERS_MAX, check_text

_TITLE_FROM_PROMPT_CHARACTERS = 60


def decide(
    command: c.ConversationCommand, state: ConversationState | None, now: datetime
) -> tuple[e.ConversationEvent, ...]:
    """Raises a Refusal, or returns the events that carry the command out."""
    if isinstance(command, c.SubmitPrompt):
        return _submit(command, state, now)
    owned = _owned(state, command.user_id)
    match command:
        case c.RecordResponse():
            return (_response(command, owned, now),)
        case c.RecordFailure():
            exchange = _open_exchange(owned, command.response_id)
            failed = e.ResponseFailed(
                **_next(owned, now),
                user_id=owned.user_id,
                prompt_id=exchange.prompt_id,
                response_id=exchange.response_id,
                hold_id=exchange.hold_id,
                reason=command.reason,
            )
            return (failed,)
        case c.RenameConversation():
            _check_not_deleted(owned)
            title = check_text(command.title, field="title", characters_max=TITLE_CHARACTERS_MAX)
            if title == owned.title:
                return ()
            renamed = e.ConversationRenamed(**_next(owned, now), user_id=owned.user_id, title=title)
            return (renamed,)
        case c.DeleteConversation():
            _check_not_deleted(owned)
            return (e.ConversationDeleted(**_next(owned, now), user_id=owned.user_id),)
        case _:
            assert_never(command)


def title_from_prompt(text: str) -> str:
    """The first words of the first message, on one line."""
    line = " ".join(text.split())
    if len(line) <= _TITLE_FROM_PROMPT_CHARACTERS:
        return line
    return line[: _TITLE_FROM_PROMPT_CHARACTERS - 1].rstrip() + "…"


def _submit(
    command: c.SubmitPrompt, state: ConversationState | None, now: datetime
) -> tuple[e.ConversationEvent, ...]:
    text = check_text(
        command.text, field="message", characters_max=MESSAGE_CHARACTERS_MAX, lines=True
    )
    started: tuple[e.ConversationEvent, ...] = ()
    if state is None:
        version = 1
        first = e.ConversationStarted(
            **header(command.conversation_id, version, now),
            user_id=command.user_id,
            title=title_from_prompt(text),
            model=command.model,
        )
        started = (first,)
    else:
        _check_not_deleted(_owned(state, command.user_id))
        assert state.open_exchange(command.response_id) is None, "response ids are fresh"
        version = state.version
    submitted = e.PromptSubmitted(
        **header(command.conversation_id, version + 1, now),
        user_id=command.user_id,
        prompt_id=command.prompt_id,
        response_id=command.response_id,
        hold_id=command.hold_id,
        idempotency_claim_id=command.idempotency_claim_id,
        text=text,
        model=command.model,
        max_tokens=command.max_tokens,
        temperature=command.temperature,
        top_p=command.top_p,
        seed=command.seed,
    )
    return (*started, submitted)


def _response(
    command: c.RecordResponse, state: ConversationState, now: datetime
) -> e.ResponseGenerated:
    exchange = _open_exchange(state, command.response_id)
    assert command.text.strip() or not command.cost_micro, "an answer without text is free"
    return e.ResponseGenerated(
        **_next(state, now),
        user_id=state.user_id,
        prompt_id=exchange.prompt_id,
        response_id=exchange.response_id,
        hold_id=exchange.hold_id,
        text=command.text,
        model=command.model,
        manifest_hash=command.manifest_hash,
        computed_on=command.computed_on,
        finish_reason=command.finish_reason,
        prompt_tokens=command.prompt_tokens,
        completion_tokens=command.completion_tokens,
        turns_dropped=command.turns_dropped,
        seed=command.seed,
        price=command.price,
        cost_micro=command.cost_micro,
        cached=command.cached,
        latency_ms=command.latency_ms,
    )


def _owned(state: ConversationState | None, user_id: UUID) -> ConversationState:
    if state is None or state.user_id != user_id:
        raise ConversationNotFound("there is no such conversation")
    return state


def _check_not_deleted(state: ConversationState) -> None:
    if state.deleted:
        raise ConversationNotFound("there is no such conversation")


def _open_exchange(state: ConversationState, response_id: UUID) -> Exchange:
    exchange = state.open_exchange(response_id)
    if exchange is None:
        raise HoldNotOpen(f"the answer {response_id} was settled or given up before")
    return exchange


def _next(state: ConversationState, now: datetime) -> Header:
    return header(state.id, state.version + 1, now)
