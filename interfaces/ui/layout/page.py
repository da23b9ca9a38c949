"""The components of the page and where they stand; what they do is in the handlers."""

from dataclasses import dataclass, fields
from typing import Any

import gradio as gr
from markupsafe import Markup

from interfaces.ui.client.settings import UiSettings
from interfaces.ui.layout import tabs
from interfaces.ui.layout.chat import chat
from interfaces.ui.layout.pieces import html, still

TAB_CHAT, TAB_HISTORY, TAB_TRANSACTIONS, TAB_TOPUP = "chat", "history", "transactions", "topup"
GEMMA_TERMS_URL = "https://ai.google.dev/gemma/terms"


@dataclass(frozen=True, kw_only=True)
class Ui:
    """Every component that a handler reads or changes (all are Gradio components)."""

    exchange: Any
    credits: Any
    person: Any
    sign_out: Any
    notice: Any
    entry: Any
    entry_models: Any
    room: Any
    login_name: Any
    login_password: Any
    sign_in: Any
    new_name: Any
    new_email: Any
    new_password: Any
    register: Any
    tabs: Any
    tab_chat: Any
    tab_history: Any
    tab_transactions: Any
    tab_topup: Any
    list_toggle: Any
    new_chat: Any
    conversations: Any
    heading: Any
    rename: Any
    delete: Any
    rename_row: Any
    rename_title: Any
    rename_save: Any
    rename_cancel: Any
    delete_row: Any
    delete_yes: Any
    delete_no: Any
    transcript: Any
    live: Any
    prompt: Any
    send: Any
    stop: Any
    model: Any
    model_note: Any
    model_timer: Any
    history_conversation: Any
    history_model: Any
    history_text: Any
    history_search: Any
    history_list: Any
    transactions: Any
    transactions_newer: Any
    transactions_older: Any
    topup_mark: Any
    packages: Any
    custom_group: Any
    custom_amount: Any
    custom_add: Any

    def all(self) -> list[Any]:
        """Every component, as the outputs of an event that may change any of them."""
        return [getattr(self, field.name) for field in fields(self)]


def build_layout(settings: UiSettings) -> Ui:
    """Lay the page out inside the current ``gr.Blocks``."""
    parts: dict[str, Any] = {}
    with gr.Row(elem_id="cl-header"):
        still(Markup('<h1 class="cl-brand">{}</h1>').format(settings.title), elem_id="cl-brand")
        parts["credits"] = html(value="", elem_id="cl-credits")
        parts["person"] = html(value="", elem_id="cl-person")
        parts["sign_out"] = gr.Button(
            "Sign out", size="sm", visible=False, elem_id="cl-sign-out", min_width=0, scale=0
        )
    parts["exchange"] = gr.Textbox(visible=False)
    parts["notice"] = html(value="", elem_id="cl-notice")
    with gr.Column(elem_id="cl-entry", visible=False) as parts["entry"]:
        tabs.entry(parts)
    with (
        gr.Column(elem_id="cl-room", visible=False) as parts["room"],
        gr.Tabs(selected=TAB_CHAT, elem_id="cl-tabs") as parts["tabs"],
    ):
        with gr.Tab("Chat", id=TAB_CHAT) as parts["tab_chat"]:
            chat(parts, settings)
        with gr.Tab("History", id=TAB_HISTORY) as parts["tab_history"]:
            tabs.history(parts)
        with gr.Tab("Transactions", id=TAB_TRANSACTIONS) as parts["tab_transactions"]:
            tabs.transactions(parts)
        with gr.Tab("Top up", id=TAB_TOPUP) as parts["tab_topup"]:
            tabs.topup(parts)
    still(_footer(settings), elem_id="cl-footer")
    return Ui(**parts)


def _footer(settings: UiSettings) -> Markup:
    terms = Markup(
        '<span>Gemma is provided under and subject to the <a href="{}" target="_blank"'
        ' rel="noopener noreferrer">Gemma Terms of Use</a>.</span>'
    ).format(GEMMA_TERMS_URL)
    documentation = Markup(
        '<span><a href="{}" target="_blank" rel="noopener noreferrer">API documentation</a></span>'
    ).format(settings.docs_url)
    return Markup("<footer>{}{}</footer>").format(terms, documentation if settings.docs_url else "")
