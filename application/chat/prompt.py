"""From a message and its conversation to the prompt that the model will see."""

from dataclasses import replace
from uuid import UUID

from application.chat.commands import ChatLimits, SendMessage
from application.chat.inference import (
    GenerationRequest,
    InferenceEngine,
    PreparedPrompt,
    Role,
    Sampling,
    Turn,
)
from application.ledger.ledger import Ledger
from application.ledger.streams import CONVERSATION
from application.ports import IdSource
from domain.conversations.state import ConversationState
from domain.errors import ConversationNotFound
from domain.text import MESSAGE_CHARACTERS_MAX, check_text

TURNS_OF_EXCHANGE = 2


class Prompts:
    def __init__(
        self, *, ledger: Ledger, engine: InferenceEngine, ids: IdSource, limits: ChatLimits
    ) -> None:
        self._ledger = ledger
        self._engine = engine
        self._ids = ids
        self._limits = limits

    async def prepare(
        self, command: SendMessage, text: str, model: str
    ) -> tuple[PreparedPrompt, UUID]:
        """The prompt, and the id of the conversation that it goes on or begins.

        Raises ConversationNotFound, UnknownModel, ModelUnavailable, PromptTooLong.
        """
        conversation: ConversationState | None = None
        if command.conversation_id is not None:
            conversation = await self._ledger.load(CONVERSATION, command.conversation_id)
            if (
                conversation is None
                or conversation.user_id != command.user_id
                or conversation.deleted
            ):
                raise ConversationNotFound("there is no such conversation")
        turns = [*_turns(conversation), Turn(role=Role.USER, content=text)]
        prompt = await self._engine.prepare_prompt(
            model, turns, completion_tokens_wanted=self.tokens_wanted(command)
        )
        if conversation is not None and conversation.forgotten:
            dropped = prompt.turns_dropped + TURNS_OF_EXCHANGE * conversation.forgotten
            prompt = replace(prompt, turns_dropped=dropped)
        return prompt, command.conversation_id or self._ids.new_id()

    def request(self, command: SendMessage, prompt: PreparedPrompt) -> GenerationRequest:
        """As long as was asked for; what can be paid for may be shorter."""
        return GenerationRequest(
            prompt=prompt,
            max_tokens=min(self.tokens_wanted(command), prompt.max_tokens),
            sampling=Sampling(
                temperature=command.temperature, top_p=command.top_p, seed=command.seed
            ),
            owner=str(command.user_id),
        )

    def tokens_wanted(self, command: SendMessage) -> int:
        most = self._limits.response_tokens_max
        return most if command.max_tokens is None else min(command.max_tokens, most)


def check_message(text: str) -> str:
    """Raises InvalidText."""
    return check_text(text, field="message", characters_max=MESSAGE_CHARACTERS_MAX, lines=True)


def _turns(conversation: ConversationState | None) -> list[Turn]:
    turns: list[Turn] = []
    for exchange in conversation.answered if conversation else ():
        assert exchange.response_text is not None
        turns.append(Turn(role=Role.USER, content=exchange.prompt_text))
        turns.append(Turn(role=Role.ASSISTANT, content=exchange.response_text))
    return turns
