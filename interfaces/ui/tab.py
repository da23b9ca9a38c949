"""One open tab of the page: what it shows and what it is waiting for."""

import asyncio
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any

from interfaces.ui.client.responses import Conversation, HistoryItem, Model
from interfaces.ui.turn import Sending, Turn


@dataclass(kw_only=True)
class Message:
    """One message of the transcript. A question has the status of its answer."""

    message_id: str
    role: str
    text: str
    model: str | None = None
    cost: Decimal | None = None
    completion_tokens: int | None = None
    latency_ms: int | None = None
    status: str = "answered"
    finish_reason: str = "stop"
    turns_dropped: int = 0
    """Earlier turns, two for each exchange, that no longer fit the model's window."""

    @classmethod
    def of(cls, item: HistoryItem) -> "Message":
        """A message as the history has it."""
        return cls(
            message_id=item.message_id,
            role=item.role,
            text=item.content or "",
            model=item.model,
            cost=item.cost,
            completion_tokens=item.completion_tokens,
            latency_ms=item.latency_ms,
            status=item.status,
            finish_reason=item.finish_reason or "stop",
            turns_dropped=item.turns_dropped or 0,
        )


@dataclass(kw_only=True, eq=False)
class Tab:
    """One open page: what it shows and what it is waiting for."""

    owner: str = ""
    """The person whose things it shows; kept when they are gone, to know whose the draft is."""
    draft: str = ""
    """What the owner wrote and could not send, because their session had ended."""

    models: list[Model] = field(default_factory=list)
    conversations: list[Conversation] = field(default_factory=list)
    conversations_cursor: str | None = None
    conversation_id: str | None = None
    messages: list[Message] = field(default_factory=list)
    earlier_cursor: str | None = None
    receipts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Receipts that stand open under their answers, by message id."""
    turn: Turn | None = None
    pump: "asyncio.Task[None] | None" = None
    unsent: Sending | None = None
    history: list[HistoryItem] = field(default_factory=list)
    history_cursor: str | None = None
    transaction_cursors: list[str | None] = field(default_factory=lambda: [None])
    """Where each page of transactions begins; the last one is on show."""
    next_transactions: str | None = None

    @property
    def is_busy(self) -> bool:
        """Whether an answer is under way."""
        return self.turn is not None and (not self.turn.is_over or self.turn.is_finishing)

    def model_titles(self) -> dict[str, str]:
        """Titles by name."""
        return {model.name: model.title for model in self.models}

    def model(self, name: str | None) -> Model | None:
        """The model of that name."""
        return next((model for model in self.models if model.name == name), None)

    def conversation(self) -> Conversation | None:
        """The open conversation, where the list knows it."""
        wanted = self.conversation_id
        return next((one for one in self.conversations if one.conversation_id == wanted), None)

    def close_conversation(self) -> None:
        """Show an empty new chat."""
        self.conversation_id = None
        self.messages = []
        self.earlier_cursor = None
        self.receipts = {}
        self.turn = None

    def stop(self) -> None:
        """End the answer under way; its task closes the connection."""
        if self.pump is not None:
            self.pump.cancel()

    def forget(self) -> None:
        """Nobody is signed in here any more: keep nothing but the draft, and whose it is."""
        self.stop()
        if self.turn is not None and self.turn.started is None:
            self.draft = self.turn.sending.text
        empty = Tab(models=self.models, owner=self.owner, draft=self.draft)
        for field_ in fields(Tab):
            setattr(self, field_.name, getattr(empty, field_.name))
