"""What each part of the page shows, as Gradio updates: component → its new properties."""

from typing import Any

import gradio as gr

from interfaces.ui.client.errors import SignedOut, UiError
from interfaces.ui.client.responses import Balance, Model
from interfaces.ui.drawing.chat import conversations_html, heading_html, live_html, transcript_html
from interfaces.ui.drawing.formats import model_label
from interfaces.ui.drawing.pieces import (
    LOADING,
    Notice,
    credits_html,
    model_note_html,
    models_html,
    notice_html,
    notice_of,
    person_html,
)
from interfaces.ui.layout.page import TAB_CHAT, Ui
from interfaces.ui.layout.tabs import EVERY_CONVERSATION, EVERY_MODEL
from interfaces.ui.tab import Tab

Updates = dict[Any, Any]


def nothing() -> Updates:
    """An update of no component at all (an empty dict would be an error)."""
    return {"__type__": "update"}


class Views:
    """Builds updates; it never calls the API."""

    def __init__(self, ui: Ui) -> None:
        self.ui = ui

    def signed_out(self, models: list[Model], notice: Notice | None = None) -> Updates:
        """The entry: sign in or create an account. Nothing of the person stays on the page.

        The fields of the entry are left alone: `exchange` has emptied them, and a fast typist, or a
        browser that fills them in, may have filled them before the models have arrived.
        """
        ui = self.ui
        return {
            ui.entry: gr.update(visible=True),
            ui.room: gr.update(visible=False),
            ui.credits: "",
            ui.person: "",
            ui.sign_out: gr.update(visible=False),
            ui.model_timer: gr.update(active=False),
            ui.notice: notice_html(notice),
            ui.entry_models: models_html(models),
            ui.transcript: "",
            ui.live: "",
            ui.conversations: "",
            ui.heading: "",
            ui.rename_title: "",
            ui.rename_row: gr.update(visible=False),
            ui.delete_row: gr.update(visible=False),
            ui.prompt: "",
            ui.history_conversation: gr.update(
                choices=[("All conversations", EVERY_CONVERSATION)], value=EVERY_CONVERSATION
            ),
            ui.history_text: "",
            ui.history_list: LOADING,
            ui.transactions: LOADING,
            ui.packages: LOADING,
            ui.custom_amount: "",
        }

    def exchange(self, code: str) -> Updates:
        """The browser fetches its new name with this code, and the page opens again."""
        return {
            self.ui.exchange: code,
            self.ui.login_password: "",
            self.ui.new_password: "",
        }

    def signed_in(self, tab: Tab, balance: Balance, draft: str) -> Updates:
        """The room: all four tabs, with a chat ready to start."""
        ui = self.ui
        return {
            ui.entry: gr.update(visible=False),
            ui.room: gr.update(visible=True),
            ui.tabs: gr.update(selected=TAB_CHAT),
            ui.person: person_html(tab.owner),
            ui.sign_out: gr.update(visible=True),
            ui.notice: "",
            ui.login_name: "",
            ui.login_password: "",
            ui.new_name: "",
            ui.new_email: "",
            ui.new_password: "",
            **({ui.prompt: draft} if draft else {}),
            **self.balance(balance),
            **self.models(tab),
            **self.conversation(tab),
        }

    def balance(self, balance: Balance) -> Updates:
        """Credits in the header."""
        return {self.ui.credits: credits_html(balance)}

    def notice(self, notice: Notice | None) -> Updates:
        """The line above the content."""
        return {self.ui.notice: notice_html(notice)}

    def error(self, error: UiError, tab: Tab) -> Updates:
        """What to show for an error; a session that has ended leads to the entry."""
        if isinstance(error, SignedOut):
            tab.forget()
            return self.signed_out(tab.models, notice_of(error))
        return self.notice(notice_of(error))

    def models(self, tab: Tab, chosen: str | None = None) -> Updates:
        """The choice of models with their prices; it keeps what was chosen."""
        if chosen is None or tab.model(chosen) is None:
            chosen = preferred_model(tab.models)
        choices = [(model_label(model), model.name) for model in tab.models]
        titles = [(model.title, model.name) for model in tab.models]
        return {
            self.ui.model: gr.update(choices=choices, value=chosen),
            self.ui.history_model: gr.update(choices=[("All models", EVERY_MODEL), *titles]),
            self.ui.model_timer: gr.update(
                active=any(model.state == "loading" for model in tab.models)
            ),
            **self.model_note(tab, chosen),
        }

    def model_note(self, tab: Tab, chosen: str | None) -> Updates:
        """What there is to know about the chosen model; Send is off for one that cannot answer."""
        model = tab.model(chosen)
        usable = model is not None and model.is_usable and not tab.is_busy
        return {
            self.ui.model_note: model_note_html(model),
            self.ui.send: gr.update(interactive=usable),
        }

    def conversation(self, tab: Tab) -> Updates:
        """The open conversation, its heading and the list beside it."""
        ui = self.ui
        is_open = tab.conversation_id is not None
        return {
            ui.transcript: transcript_html(tab),
            ui.live: live_html(tab.turn),
            ui.heading: heading_html(tab),
            ui.rename: gr.update(visible=is_open, interactive=not tab.is_busy),
            ui.delete: gr.update(visible=is_open, interactive=not tab.is_busy),
            ui.rename_row: gr.update(visible=False),
            ui.delete_row: gr.update(visible=False),
            **self.conversation_list(tab),
        }

    def conversation_list(self, tab: Tab) -> Updates:
        """The conversations beside the chat and in the filter of the history."""
        choices = [(one.title or "Untitled", one.conversation_id) for one in tab.conversations]
        return {
            self.ui.conversations: conversations_html(tab),
            self.ui.history_conversation: gr.update(
                choices=[("All conversations", EVERY_CONVERSATION), *choices]
            ),
        }

    def busy(self, tab: Tab, *, is_busy: bool) -> Updates:
        """Send gives way to Stop, and what would disturb an answer waits."""
        ui = self.ui
        is_open = tab.conversation_id is not None
        return {
            ui.send: gr.update(visible=not is_busy, interactive=True),
            ui.stop: gr.update(visible=is_busy, interactive=is_busy),
            ui.new_chat: gr.update(interactive=not is_busy),
            ui.model: gr.update(interactive=not is_busy),
            ui.rename: gr.update(visible=is_open, interactive=not is_busy),
            ui.delete: gr.update(visible=is_open, interactive=not is_busy),
        }


def preferred_model(models: list[Model]) -> str | None:
    """The default model where it can answer, else the first one that can."""
    usable = [model for model in models if model.is_usable]
    default = next((model for model in usable if model.default), None)
    chosen = default or (usable[0] if usable else (models[0] if models else None))
    return chosen.name if chosen is not None else None
