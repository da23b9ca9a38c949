"""Which event calls which handler."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import gradio as gr

from interfaces.ui.client.errors import SignedOut
from interfaces.ui.handlers.chat import ChatHandlers
from interfaces.ui.handlers.conversations import ConversationHandlers
from interfaces.ui.handlers.entry import EntryHandlers
from interfaces.ui.handlers.ledger import LedgerHandlers
from interfaces.ui.handlers.views import Updates, Views
from interfaces.ui.layout.page import Ui
from interfaces.ui.page import Page

Handler = Callable[..., Awaitable[Updates]]

_TOGGLE_LIST = "() => { document.querySelector('#cl-chat').classList.toggle('cl-show-list'); }"
# Kept by assets/page.js, which is not there yet when this is asked.
_ARRIVED = """() => {
  const code = sessionStorage.getItem('chatledger-code') ?? '';
  sessionStorage.removeItem('chatledger-code');
  return code;
}"""
# In assets/page.js.
_EXCHANGE = "(code) => window.chatledgerExchange(code)"


def bind_handlers(blocks: Any, ui: Ui, page: Page) -> None:
    """Connect the components of ``ui`` inside the current ``gr.Blocks``."""
    views = Views(ui)
    entry = EntryHandlers(page, views)
    chat = ChatHandlers(page, views)
    conversations = ConversationHandlers(page, views, entry)
    ledger = LedgerHandlers(page, views, conversations)
    _bind_entry(blocks, ui, entry, chat)
    member = functools.partial(_for_members, page, views)
    _bind_chat(ui, chat, conversations, member)
    _bind_ledger(ui, ledger, member)


def _for_members(page: Page, views: Views, handler: Handler) -> Handler:
    """The handler for whoever is signed in; anybody else is led to the entry."""

    @functools.wraps(handler)
    async def guarded(*given: Any) -> Updates:
        visit = page.visit(next(one for one in given if isinstance(one, gr.Request)))
        if visit.session.tokens is None:
            return views.error(SignedOut(), visit.tab)
        return await handler(*given)

    return guarded


_OPTIONS = {
    "show_progress": "hidden",
    "api_visibility": "private",
    "trigger_mode": "once",
    "concurrency_limit": None,
    # The handler itself judges a choice that is not offered; Gradio would log a traceback.
    "preprocess": False,
}


def _bind(
    listeners: list[Any],
    handler: Callable[..., Any],
    ui: Ui,
    inputs: list[Any] | None = None,
    js: str | None = None,
) -> Any:
    """One handler for several events. No event waits for another, and a second one of the same
    component is dropped while the first one runs."""
    return gr.on(listeners, handler, inputs=inputs or [], outputs=ui.all(), js=js, **_OPTIONS)


def _bind_entry(blocks: Any, ui: Ui, entry: EntryHandlers, chat: ChatHandlers) -> None:
    _bind([blocks.load], entry.open, ui, [ui.exchange], js=_ARRIVED)
    blocks.unload(chat.leave)
    in_and_out = (
        _bind(
            [ui.sign_in.click, ui.login_name.submit, ui.login_password.submit],
            entry.sign_in,
            ui,
            [ui.login_name, ui.login_password],
        ),
        _bind(
            [ui.register.click, ui.new_password.submit],
            entry.register,
            ui,
            [ui.new_name, ui.new_email, ui.new_password],
        ),
        _bind([ui.sign_out.click], entry.sign_out, ui),
    )
    for done in in_and_out:
        done.then(None, inputs=[ui.exchange], outputs=[], js=_EXCHANGE, api_visibility="private")


def _bind_chat(
    ui: Ui, chat: ChatHandlers, conversations: ConversationHandlers, member: Any
) -> None:
    begun = _bind([ui.prompt.submit, ui.send.click], chat.begin, ui, [ui.prompt, ui.model])
    grown = begun.then(chat.grow, inputs=[], outputs=[ui.live, ui.credits], **_OPTIONS)
    grown.then(chat.finish, inputs=[], outputs=ui.all(), **_OPTIONS)
    _bind([ui.stop.click], member(chat.stop), ui)
    _bind([ui.model.input], member(conversations.choose_model), ui, [ui.model])
    _bind([ui.model_timer.tick], member(conversations.look_at_models), ui, [ui.model])
    _bind([ui.new_chat.click], member(conversations.new_chat), ui)
    for place in (ui.notice, ui.transcript, ui.conversations):
        _bind([place.click], conversations.act, ui)
    _bind([ui.rename.click], member(conversations.ask_title), ui)
    _bind(
        [ui.rename_save.click, ui.rename_title.submit],
        member(conversations.rename),
        ui,
        [ui.rename_title],
    )
    _bind([ui.delete.click], conversations.ask_delete, ui)
    _bind([ui.delete_yes.click], member(conversations.delete), ui)
    _bind([ui.rename_cancel.click, ui.delete_no.click], conversations.put_away, ui)
    ui.list_toggle.click(None, js=_TOGGLE_LIST, api_visibility="private")


def _bind_ledger(ui: Ui, ledger: LedgerHandlers, member: Any) -> None:
    filters = [ui.history_conversation, ui.history_model, ui.history_text]
    _bind(
        [
            ui.tab_history.select,
            ui.history_search.click,
            ui.history_text.submit,
            ui.history_conversation.input,
            ui.history_model.input,
        ],
        member(ledger.history),
        ui,
        filters,
    )
    _bind([ui.history_list.click], member(ledger.history_act), ui, filters)
    _bind([ui.tab_transactions.select], member(ledger.transactions), ui)
    _bind([ui.transactions.click], member(ledger.transactions_act), ui)
    _bind([ui.transactions_older.click], member(ledger.older_transactions), ui)
    _bind([ui.transactions_newer.click], member(ledger.newer_transactions), ui)
    _bind([ui.tab_topup.select], member(ledger.packages), ui)
    _bind([ui.packages.click], member(ledger.add_package), ui)
    _bind(
        [ui.custom_add.click, ui.custom_amount.submit],
        member(ledger.add_amount),
        ui,
        [ui.custom_amount],
    )
