"""What the page's process remembers: the client, the browsers, and each open tab."""

import asyncio
import secrets
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from interfaces.ui.api import Api
from interfaces.ui.sessions import BrowserSession, BrowserSessions, browser_name
from interfaces.ui.settings import UiSettings
from interfaces.ui.turn import Sending, Turn
from interfaces.ui.wire import Conversation, HistoryItem, Model

CANCELLED = "cancelled"


@dataclass(kw_only=True)
class Line:
    """One message of the transcript. A question has the status of its answer."""

    message_id: str
    role: str
    text: str
    model: str | None = None
    cost: Decimal | None = None
    completion_tokens: int | None = None
    latency_ms: int | None = None
    status: str = "answered"
    is_stopped: bool = False

    @classmethod
    def of(cls, item: HistoryItem) -> "Line":
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
            is_stopped=item.finish_reason == CANCELLED,
        )


@dataclass(kw_only=True, eq=False)
class Tab:
    """One open page: what it shows and what it is waiting for."""

    models: list[Model] = field(default_factory=list)
    conversations: list[Conversation] = field(default_factory=list)
    conversations_cursor: str | None = None
    conversation_id: str | None = None
    lines: list[Line] = field(default_factory=list)
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
        return self.turn is not None and (not self.turn.is_over or self.turn.is_settling)

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
        self.lines = []
        self.earlier_cursor = None
        self.receipts = {}
        self.turn = None

    def stop(self) -> None:
        """End the answer under way; its task closes the connection."""
        if self.pump is not None:
            self.pump.cancel()


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One event's view of who caused it."""

    browser: str
    session: BrowserSession
    tab: Tab


class Page:
    """The state behind every handler."""

    def __init__(self, settings: UiSettings, api: Api, sessions: BrowserSessions) -> None:
        self.settings = settings
        self.api = api
        self.sessions = sessions
        self._tabs: OrderedDict[tuple[str, str], Tab] = OrderedDict()

    def visit(self, request: Any) -> Visit:
        """Who is behind a ``gradio.Request``. A tab belongs to its browser's name as well."""
        browser = browser_name(request.headers.get("cookie"))
        if not self.sessions.is_ours(browser):
            browser = ""
        key = (browser, str(request.session_hash or ""))
        tab = self._tabs.get(key)
        if tab is None:
            tab = self._tabs[key] = Tab()
            while len(self._tabs) > self.settings.tabs_max:
                self._tabs.popitem(last=False)[1].stop()
        self._tabs.move_to_end(key)
        session = self.sessions.find(browser) if browser else BrowserSession()
        return Visit(browser=browser, session=session, tab=tab)

    def leave(self, request: Any) -> None:
        """The tab was closed: stop what it waits for.

        What it shows is kept for a while, because a sleeping laptop looks just the same.
        """
        browser = browser_name(request.headers.get("cookie"))
        tab = self._tabs.get((browser, str(request.session_hash or "")))
        if tab is not None:
            tab.stop()
            tab.turn = None


def new_key() -> str:
    """A fresh Idempotency-Key."""
    return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
