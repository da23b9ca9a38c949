"""History, transactions and top-ups."""

from decimal import Decimal
from typing import Any

import gradio as gr

from interfaces.ui.client.errors import UiError
from interfaces.ui.client.responses import Added, Balance, History, Packages, Transactions, read_as
from interfaces.ui.drawing.formats import AmountRefused, read_amount
from interfaces.ui.drawing.ledger import (
    added_text,
    development_html,
    history_html,
    packages_html,
    transactions_html,
)
from interfaces.ui.drawing.pieces import Notice
from interfaces.ui.handlers.conversations import (
    ConversationHandlers,
    is_id,
    read_action,
    toggle_receipt,
)
from interfaces.ui.handlers.views import Updates, Views, nothing
from interfaces.ui.page import Page, Visit, new_key


class LedgerHandlers:
    """Handlers of the three tabs beside the chat."""

    def __init__(self, page: Page, views: Views, conversations: ConversationHandlers) -> None:
        self._page = page
        self._views = views
        self._conversations = conversations

    async def history(
        self, conversation_id: str, model: str, text: str, request: gr.Request
    ) -> Updates:
        """Search from the newest message on."""
        return await self._history(request, conversation_id, model, text, older=False)

    async def history_act(
        self,
        conversation_id: str,
        model: str,
        text: str,
        event: gr.EventData,
        request: gr.Request,
    ) -> Updates:
        """A button in the history: older messages, or the conversation of one."""
        action, value = read_action(event)
        if action == "older":
            return await self._history(request, conversation_id, model, text, older=True)
        if action == "open" and is_id(value):
            visit = self._page.visit(request)
            try:
                return await self._conversations.open(visit, value)
            except UiError as error:
                return self._views.error(error, visit.tab)
        return nothing()

    async def transactions(self, request: gr.Request) -> Updates:
        """The newest transactions."""
        visit = self._page.visit(request)
        visit.tab.transaction_cursors = [None]
        return await self._transactions(visit)

    async def older_transactions(self, request: gr.Request) -> Updates:
        """One page further into the past."""
        visit = self._page.visit(request)
        if visit.tab.next_transactions is not None:
            visit.tab.transaction_cursors.append(visit.tab.next_transactions)
        return await self._transactions(visit)

    async def newer_transactions(self, request: gr.Request) -> Updates:
        """One page back towards now."""
        visit = self._page.visit(request)
        if len(visit.tab.transaction_cursors) > 1:
            visit.tab.transaction_cursors.pop()
        return await self._transactions(visit)

    async def transactions_act(self, event: gr.EventData, request: gr.Request) -> Updates:
        """The receipt of a debit."""
        visit = self._page.visit(request)
        action, value = read_action(event)
        if action != "receipt" or not is_id(value):
            return nothing()
        try:
            await toggle_receipt(self._page, visit, value)
        except UiError as error:
            return self._views.error(error, visit.tab)
        return await self._transactions(visit)

    async def packages(self, request: gr.Request) -> Updates:
        """What can be bought."""
        visit, ui = self._page.visit(request), self._views.ui
        try:
            packages = await self._page.api.get(visit.session, "/billing/packages", Packages)
            balance = await self._page.api.get(visit.session, "/billing/balance", Balance)
        except UiError as error:
            return self._views.error(error, visit.tab)
        return {
            **self._views.notice(None),
            ui.topup_mark: development_html(packages.development),
            ui.packages: packages_html(packages),
            ui.custom_group: gr.update(visible=packages.custom is not None),
            **self._views.balance(balance),
        }

    async def add_package(self, event: gr.EventData, request: gr.Request) -> Updates:
        """A package was chosen."""
        visit = self._page.visit(request)
        action, value = read_action(event)
        if action != "package" or not value:
            return nothing()
        try:
            return await self._add(visit, {"package_id": value})
        except UiError as error:
            return self._views.error(error, visit.tab)

    async def add_amount(self, typed: str, request: gr.Request) -> Updates:
        """Credits of one's own choice."""
        visit = self._page.visit(request)
        try:
            packages = await self._page.api.get(visit.session, "/billing/packages", Packages)
            if packages.custom is None:
                return nothing()
            amount = read_amount(
                typed, smallest=packages.custom.amount_min, largest=packages.custom.amount_max
            )
            return {**await self._add(visit, {"amount": amount}), self._views.ui.custom_amount: ""}
        except AmountRefused as refusal:
            return self._views.notice(Notice(kind="warning", text=str(refusal)))
        except UiError as error:
            return self._views.error(error, visit.tab)

    async def _add(self, visit: Visit, body: dict[str, str | Decimal]) -> Updates:
        response = await self._page.api.command(
            visit.session, "POST", "/billing/add", body, key=new_key()
        )
        added = read_as(response, Added)
        text = added_text(added.credited, added.bonus, is_development=added.development)
        return {
            **self._views.balance(added.balance),
            **self._views.notice(Notice(kind="success", text=text)),
        }

    async def _history(
        self, request: Any, conversation_id: str, model: str, text: str, *, older: bool
    ) -> Updates:
        visit = self._page.visit(request)
        tab = visit.tab
        try:
            response = await self._page.api.get(
                visit.session,
                "/chat/history",
                History,
                conversation_id=conversation_id,
                model=model,
                q=text.strip(),
                limit=self._page.settings.history_page,
                cursor=tab.history_cursor if older else None,
            )
        except UiError as error:
            return self._views.error(error, tab)
        tab.history = [*tab.history, *response.items] if older else list(response.items)
        tab.history_cursor = response.next_cursor
        return {
            **self._views.notice(None),
            self._views.ui.history_list: history_html(
                tab.history,
                tab.model_titles(),
                is_filtered=bool(conversation_id or model or text.strip()),
                has_more=tab.history_cursor is not None,
            ),
        }

    async def _transactions(self, visit: Visit) -> Updates:
        tab, ui = visit.tab, self._views.ui
        try:
            response = await self._page.api.get(
                visit.session,
                "/billing/transactions",
                Transactions,
                limit=self._page.settings.transactions_page,
                cursor=tab.transaction_cursors[-1],
            )
            balance = await self._page.api.get(visit.session, "/billing/balance", Balance)
        except UiError as error:
            return self._views.error(error, tab)
        tab.next_transactions = response.next_cursor
        return {
            **self._views.notice(None),
            ui.transactions: transactions_html(response.items, tab.receipts),
            ui.transactions_newer: gr.update(visible=len(tab.transaction_cursors) > 1),
            ui.transactions_older: gr.update(visible=response.next_cursor is not None),
            **self._views.balance(balance),
        }
