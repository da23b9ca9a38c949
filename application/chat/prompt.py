"""From a message and its conversation to what the model will be asked, and at which price."""

from dataclasses import dataclass, replace
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
from application.chat.price_list import PriceList
from application.ledger.ledger import Ledger
from application.ledger.streams import CONVERSATION
from application.ports import IdSource
from domain.claims.idempotency import IdempotencyKey
from domain.conversations.state import ConversationState
from domain.errors import ConversationNotFound
from domain.pricing.price import Price
from domain.text import MESSAGE_CHARACTERS_MAX, check_text

TURNS_OF_EXCHANGE = 2


@dataclass(frozen=True, kw_only=True)
class PreparedMessage:
    """A message that can be held for.

    conversation_id: of the conversation that it continues or begins. request: for an answer as
    long as was asked for; what the user can pay for may be shorter.
    """

    user_id: UUID
    conversation_id: UUID
    text: str
    price: Price
    request: GenerationRequest
    key: IdempotencyKey | None

    @property
    def prompt(self) -> PreparedPrompt:
        return self.request.prompt


class Prompts:
    def __init__(
        self,
        *,
        ledger: Ledger,
        engine: InferenceEngine,
        price_list: PriceList,
        ids: IdSource,
        limits: ChatLimits,
    ) -> None:
        self._ledger = ledger
        self._engine = engine
        self._price_list = price_list
        self._ids = ids
        self._limits = limits

    async def prepare(self, command: SendMessage) -> PreparedMessage:
        """Raises InvalidText, ConversationNotFound, UnknownModel, ModelUnavailable,
        PromptTooLong."""
        text = check_text(
            command.text, field="message", characters_max=MESSAGE_CHARACTERS_MAX, lines=True
        )
        model = command.model or self._price_list.default_model
        price = self._price_list.price(model)
        conversation = await self._conversation(command)
        turns = [*_turns(conversation), Turn(role=Role.USER, content=text)]
        tokens_wanted = self._tokens_wanted(command)
        prompt = await self._engine.prepare_prompt(
            model, turns, completion_tokens_wanted=tokens_wanted
        )
        if conversation is not None and conversation.forgotten:
            dropped = prompt.turns_dropped + TURNS_OF_EXCHANGE * conversation.forgotten
            prompt = replace(prompt, turns_dropped=dropped)
        return PreparedMessage(
            user_id=command.user_id,
            conversation_id=command.conversation_id or self._ids.new_id(),
            text=text,
            price=price,
            request=GenerationRequest(
                prompt=prompt,
                max_tokens=min(tokens_wanted, prompt.max_tokens),
                sampling=Sampling(
                    temperature=command.temperature, top_p=command.top_p, seed=command.seed
                ),
                owner=str(command.user_id),
            ),
            key=command.key,
        )

    async def _conversation(self, command: SendMessage) -> ConversationState | None:
        """Raises ConversationNotFound."""
        if command.conversation_id is None:
            return None
        found = await self._ledger.load(CONVERSATION, command.conversation_id)
        if found is None or found.user_id != command.user_id or found.deleted:
            raise ConversationNotFound("there is no such conversation")
        return found

    def _tokens_wanted(self, command: SendMessage) -> int:
        most = self._limits.response_tokens_max
        return most if command.max_tokens is None else min(command.max_tokens, most)


def _turns(conversation: ConversationState | None) -> list[Turn]:
    turns: list[Turn] = []
    for exchange in conversation.answered if conversation else ():
        assert exchange.response_text is not None
        turns.append(Turn(role=Role.USER, content=exchange.prompt_text))
        turns.append(Turn(role=Role.ASSISTANT, content=exchange.response_text))
    return turns
