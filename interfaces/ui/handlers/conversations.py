"""The list of conversations: opening, naming and deleting, and the buttons inside answers."""

from typing import Any

import gradio as gr

from interfaces.ui.client.errors import ApiProblem, SignedOut, UiError
from interfaces.ui.client.responses import History, Models
from interfaces.ui.drawing.pieces import Notice
from interfaces.ui.handlers.entry import EntryHandlers, load_conversations
from interfaces.ui.handlers.views import Updates, Views, nothing
from interfaces.ui.layout.page import TAB_CHAT, TAB_TOPUP
from interfaces.ui.page import Page, Visit, new_key
from interfaces.ui.tab import Message

# Buttons of a notice that also work before anybody has signed in; they show nothing personal.
_AT_THE_ENTRY = {"dismiss", "retry", "reload"}
_BUSY = Notice(kind="warning", text="Wait for the answer under way, or stop it first.")


async def toggle_receipt(page: Page, visit: Visit, message_id: str) -> None:
    """Show a receipt, or put it away. Raises UiError."""
    if visit.tab.receipts.pop(message_id, None) is not None:
        return
    path = f"/billing/receipts/{message_id}"
    visit.tab.receipts[message_id] = await page.api.get(visit.session, path, dict[str, Any])


class ConversationHandlers:
    """Handlers around the conversations of a person."""

    def __init__(self, page: Page, views: Views, entry: EntryHandlers) -> None:
        self._page = page
        self._views = views
        self._entry = entry

    async def act(self, event: gr.EventData, request: gr.Request) -> Updates:
        """A button inside the transcript, the lists or the notice was pressed."""
        visit = self._page.visit(request)
        action, value = read_action(event)
        if visit.session.tokens is None and action not in _AT_THE_ENTRY:
            return self._views.error(SignedOut(), visit.tab)
        try:
            return await self._act(visit, action, value, request)
        except UiError as error:
            return self._views.error(error, visit.tab)

    async def _act(self, visit: Visit, action: str, value: str, request: Any) -> Updates:
        tab, ui = visit.tab, self._views.ui
        match action:
            case "dismiss":
                return self._views.notice(None)
            case "topup":
                return {ui.tabs: gr.update(selected=TAB_TOPUP), **self._views.notice(None)}
            case "starter":
                return {ui.prompt: value}
            case "retry" | "reload":
                return await self._reload(visit, request)
            case "receipt" if is_id(value):
                await toggle_receipt(self._page, visit, value)
                return self._views.conversation(tab)
            case "open" if is_id(value):
                return await self.open(visit, value)
            case "earlier":
                await self._load_messages(visit, earlier=True)
                return self._views.conversation(tab)
            case "more":
                await load_conversations(self._page, visit, more=True)
                return self._views.conversation_list(tab)
        return nothing()

    async def open(self, visit: Visit, conversation_id: str) -> Updates:
        """Show a conversation in the chat. Raises UiError."""
        tab = visit.tab
        if tab.is_busy:
            return self._views.notice(_BUSY)
        tab.close_conversation()
        tab.conversation_id = conversation_id
        try:
            await self._load_messages(visit)
        except ApiProblem:
            tab.close_conversation()
            raise
        conversation = tab.conversation()
        chosen = conversation.model if conversation is not None else None
        model = tab.model(chosen)
        return {
            self._views.ui.tabs: gr.update(selected=TAB_CHAT),
            **self._views.notice(None),
            **self._views.conversation(tab),
            **(self._views.models(tab, chosen) if model is not None and model.is_usable else {}),
        }

    async def choose_model(self, name: str | None, request: gr.Request) -> Updates:
        """Another model was picked: say what it is."""
        return self._views.model_note(self._page.visit(request).tab, name)

    async def look_at_models(self, name: str | None, request: gr.Request) -> Updates:
        """A model was loading when it was last looked at."""
        visit = self._page.visit(request)
        try:
            models = await self._page.api.public(visit.session, "/chat/models", Models)
        except UiError:
            # They are asked for again soon, and what the person does next says what is wrong.
            return nothing()
        visit.tab.models = models.items
        return self._views.models(visit.tab, name)

    async def new_chat(self, request: gr.Request) -> Updates:
        """Put the open conversation away and show an empty one."""
        tab = self._page.visit(request).tab
        if tab.is_busy:
            return self._views.notice(_BUSY)
        tab.close_conversation()
        return {**self._views.notice(None), **self._views.conversation(tab)}

    async def ask_title(self, request: gr.Request) -> Updates:
        """Show the box for a new title."""
        conversation = self._page.visit(request).tab.conversation()
        ui = self._views.ui
        return {
            ui.rename_row: gr.update(visible=True),
            ui.delete_row: gr.update(visible=False),
            ui.rename_title: conversation.title if conversation is not None else "",
        }

    async def rename(self, title: str, request: gr.Request) -> Updates:
        """Give the open conversation another title."""
        visit = self._page.visit(request)
        conversation_id = visit.tab.conversation_id
        if conversation_id is None:
            return nothing()
        if not title.strip():
            return self._views.notice(Notice(kind="warning", text="Write a title first."))
        try:
            await self._page.api.command(
                visit.session,
                "PATCH",
                f"/chat/conversations/{conversation_id}",
                {"title": title.strip()},
                key=new_key(),
            )
            await load_conversations(self._page, visit)
        except UiError as error:
            return self._views.error(error, visit.tab)
        return {**self._views.notice(None), **self._views.conversation(visit.tab)}

    def ask_delete(self) -> Updates:
        """Ask before a conversation goes."""
        ui = self._views.ui
        return {ui.delete_row: gr.update(visible=True), ui.rename_row: gr.update(visible=False)}

    def put_away(self) -> Updates:
        """Hide what `ask_title` and `ask_delete` have shown."""
        ui = self._views.ui
        return {ui.delete_row: gr.update(visible=False), ui.rename_row: gr.update(visible=False)}

    async def delete(self, request: gr.Request) -> Updates:
        """Delete the open conversation."""
        visit = self._page.visit(request)
        conversation_id = visit.tab.conversation_id
        if conversation_id is None:
            return nothing()
        try:
            await self._page.api.command(
                visit.session, "DELETE", f"/chat/conversations/{conversation_id}", key=new_key()
            )
            visit.tab.close_conversation()
            await load_conversations(self._page, visit)
        except UiError as error:
            return self._views.error(error, visit.tab)
        deleted = Notice(kind="success", text="The conversation is deleted.")
        return {**self._views.conversation(visit.tab), **self._views.notice(deleted)}

    async def _reload(self, visit: Visit, request: Any) -> Updates:
        """Ask the API again for what is on show; what was typed stays."""
        tab = visit.tab
        if visit.session.tokens is None:
            return await self._entry.open("", request)
        if tab.is_busy:
            return self._views.notice(None)
        entered = await self._entry.enter(visit)
        if tab.conversation_id is not None:
            await self._load_messages(visit)
        return {**entered, **self._views.conversation(tab)}

    async def _load_messages(self, visit: Visit, *, earlier: bool = False) -> None:
        tab = visit.tab
        history = await self._page.api.get(
            visit.session,
            "/chat/history",
            History,
            conversation_id=tab.conversation_id,
            limit=self._page.settings.transcript_messages_max,
            cursor=tab.earlier_cursor if earlier else None,
        )
        loaded = [Message.of(item) for item in reversed(history.items)]
        tab.messages = loaded + tab.messages if earlier else loaded
        tab.earlier_cursor = history.next_cursor


def read_action(event: Any) -> tuple[str, str]:
    """What was pressed. The browser sends it, so anything may be in it."""
    data = event._data if isinstance(event._data, dict) else {}
    return str(data.get("action", "")), str(data.get("value", ""))[:500]


def is_id(value: str) -> bool:
    """Ids stand in paths: letters, digits and hyphens only."""
    return bool(value) and len(value) <= 64 and all(one.isalnum() or one == "-" for one in value)
