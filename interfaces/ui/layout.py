"""The components of the page and where they stand; what they do is in the handlers."""

from dataclasses import dataclass, fields
from typing import Any

import gradio as gr
from markupsafe import Markup

from interfaces.ui.formats import AMOUNT_CHARS_MAX
from interfaces.ui.settings import UiSettings

TAB_CHAT, TAB_HISTORY, TAB_TRANSACTIONS, TAB_TOPUP = "chat", "history", "transactions", "topup"
GEMMA_TERMS_URL = "https://ai.google.dev/gemma/terms"
EVERY_CONVERSATION, EVERY_MODEL = "", ""
NAME_CHARS_MAX, EMAIL_CHARS_MAX, PASSWORD_CHARS_MAX = 64, 254, 128
TITLE_CHARS_MAX, SEARCH_CHARS_MAX = 120, 200

# Clicks on the page's own buttons travel to Python as (action, value) of one delegated event.
_FORWARD_CLICKS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-action]');
  if (button && !button.disabled) {
    trigger('click', {action: button.dataset.action, value: button.dataset.value || ''});
  }
});
"""


@dataclass(frozen=True, kw_only=True)
class Ui:
    """Every component that a handler reads or changes (all are Gradio components)."""

    credits: Any
    person: Any
    sign_out: Any
    notice: Any
    door: Any
    door_models: Any
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


def html(**options: Any) -> Any:
    """An HTML place whose buttons send their actions to Python."""
    return gr.HTML(js_on_load=_FORWARD_CLICKS, apply_default_css=False, **options)


def still(value: str, **options: Any) -> Any:
    """An HTML place that is only read."""
    return gr.HTML(value, js_on_load=None, apply_default_css=False, **options)


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
    parts["notice"] = html(value="", elem_id="cl-notice")
    with gr.Column(elem_id="cl-door", visible=False) as parts["door"]:
        _door(parts)
    with (
        gr.Column(elem_id="cl-room", visible=False) as parts["room"],
        gr.Tabs(selected=TAB_CHAT, elem_id="cl-tabs") as parts["tabs"],
    ):
        with gr.Tab("Chat", id=TAB_CHAT) as parts["tab_chat"]:
            _chat(parts, settings)
        with gr.Tab("History", id=TAB_HISTORY) as parts["tab_history"]:
            _history(parts)
        with gr.Tab("Transactions", id=TAB_TRANSACTIONS) as parts["tab_transactions"]:
            _transactions(parts)
        with gr.Tab("Top up", id=TAB_TOPUP) as parts["tab_topup"]:
            _topup(parts)
    still(_footer(settings), elem_id="cl-footer")
    return Ui(**parts)


def _footer(settings: UiSettings) -> Markup:
    return Markup(
        '<footer><span>Gemma is provided under and subject to the <a href="{}" target="_blank"'
        ' rel="noopener noreferrer">Gemma Terms of Use</a>.</span>'
        '<span><a href="{}" target="_blank" rel="noopener noreferrer">API documentation</a></span>'
        "</footer>"
    ).format(GEMMA_TERMS_URL, settings.api_docs_url)


def _field(label: str, identity: str, *, chars_max: int, **options: Any) -> Any:
    attributes = options.pop("html_attributes", None)
    return gr.Textbox(
        label=label,
        elem_id=identity,
        max_lines=1,
        max_length=chars_max,
        html_attributes=attributes,
        **options,
    )


def _door(parts: dict[str, Any]) -> None:
    with gr.Column(elem_classes="cl-card"):
        still(
            '<div class="cl-welcome"><h2>Chat with Gemma 3, and see what every answer costs</h2>'
            "<p>You pay with prepaid credits, only for answers that arrive. "
            "A new account starts with welcome credits, so you can try it at once.</p></div>"
        )
        parts["door_models"] = still("", elem_id="cl-door-models")
        with gr.Tabs(elem_id="cl-door-tabs"):
            with gr.Tab("Sign in", id="sign-in"):
                parts["login_name"] = _field(
                    "Username or e-mail",
                    "cl-login-name",
                    chars_max=EMAIL_CHARS_MAX,
                    html_attributes=gr.InputHTMLAttributes(autocomplete="username"),
                )
                parts["login_password"] = _field(
                    "Password", "cl-login-password", chars_max=PASSWORD_CHARS_MAX, type="password"
                )
                parts["sign_in"] = gr.Button("Sign in", variant="primary", elem_id="cl-sign-in")
            with gr.Tab("Create account", id="register"):
                parts["new_name"] = _field("Username", "cl-new-name", chars_max=NAME_CHARS_MAX)
                parts["new_email"] = _field(
                    "E-mail", "cl-new-email", chars_max=EMAIL_CHARS_MAX, type="email"
                )
                parts["new_password"] = _field(
                    "Password", "cl-new-password", chars_max=PASSWORD_CHARS_MAX, type="password"
                )
                parts["register"] = gr.Button(
                    "Create account", variant="primary", elem_id="cl-register"
                )


def _chat(parts: dict[str, Any], settings: UiSettings) -> None:
    with gr.Row(elem_id="cl-chat", equal_height=False):
        with gr.Column(elem_id="cl-side", scale=0, min_width=0):
            parts["new_chat"] = gr.Button("New chat", size="sm", elem_id="cl-new-chat")
            parts["conversations"] = html(value="", elem_id="cl-conversations")
        with gr.Column(elem_id="cl-main", scale=1, min_width=0):
            _chat_head(parts)
            with gr.Column(elem_id="cl-scroll"):
                parts["transcript"] = html(value="", elem_id="cl-transcript")
                parts["live"] = html(value="", elem_id="cl-live")
            with gr.Row(elem_id="cl-composer"):
                parts["prompt"] = gr.Textbox(
                    placeholder="Write a message. Enter sends, Shift+Enter starts a new line.",
                    label="Message",
                    show_label=False,
                    container=False,
                    lines=1,
                    max_lines=8,
                    max_length=settings.message_chars_max,
                    elem_id="cl-prompt",
                    scale=1,
                    min_width=0,
                )
                parts["send"] = gr.Button(
                    "Send", variant="primary", elem_id="cl-send", scale=0, min_width=0
                )
                parts["stop"] = gr.Button(
                    "Stop", variant="stop", elem_id="cl-stop", scale=0, min_width=0, visible=False
                )
            with gr.Row(elem_id="cl-model-row"):
                parts["model"] = gr.Dropdown(
                    choices=[],
                    label="Model",
                    show_label=False,
                    container=False,
                    filterable=False,
                    interactive=True,
                    elem_id="cl-model",
                    scale=0,
                    min_width=0,
                )
                parts["model_note"] = still("", elem_id="cl-model-note")


def _chat_head(parts: dict[str, Any]) -> None:
    with gr.Row(elem_id="cl-chat-head"):
        parts["list_toggle"] = gr.Button(
            "Chats", size="sm", elem_id="cl-list-toggle", scale=0, min_width=0
        )
        parts["heading"] = still("", elem_id="cl-heading")
        parts["rename"] = gr.Button(
            "Rename", size="sm", elem_id="cl-rename", scale=0, min_width=0, visible=False
        )
        parts["delete"] = gr.Button(
            "Delete", size="sm", elem_id="cl-delete", scale=0, min_width=0, visible=False
        )
    with gr.Row(elem_id="cl-rename-row", visible=False) as parts["rename_row"]:
        parts["rename_title"] = gr.Textbox(
            label="New title",
            show_label=False,
            container=False,
            placeholder="New title",
            max_lines=1,
            max_length=TITLE_CHARS_MAX,
            elem_id="cl-rename-title",
            scale=1,
            min_width=0,
        )
        parts["rename_save"] = gr.Button(
            "Save", size="sm", variant="primary", elem_id="cl-rename-save", scale=0, min_width=0
        )
        parts["rename_cancel"] = gr.Button("Cancel", size="sm", scale=0, min_width=0)
    with gr.Row(elem_id="cl-delete-row", visible=False) as parts["delete_row"]:
        still(
            "<span>Delete this conversation? Its messages go; what they cost stays in your "
            "transactions.</span>"
        )
        parts["delete_yes"] = gr.Button(
            "Delete", size="sm", variant="stop", elem_id="cl-delete-yes", scale=0, min_width=0
        )
        parts["delete_no"] = gr.Button(
            "Keep", size="sm", elem_id="cl-delete-no", scale=0, min_width=0
        )


def _history(parts: dict[str, Any]) -> None:
    with gr.Row(elem_id="cl-history-filters"):
        parts["history_conversation"] = gr.Dropdown(
            choices=[("All conversations", EVERY_CONVERSATION)],
            value=EVERY_CONVERSATION,
            label="Conversation",
            filterable=False,
            min_width=180,
        )
        parts["history_model"] = gr.Dropdown(
            choices=[("All models", EVERY_MODEL)],
            value=EVERY_MODEL,
            label="Model",
            filterable=False,
            min_width=160,
        )
        parts["history_text"] = gr.Textbox(
            label="Text",
            placeholder="Words to look for",
            max_lines=1,
            max_length=SEARCH_CHARS_MAX,
            elem_id="cl-history-text",
            min_width=180,
        )
        parts["history_search"] = gr.Button(
            "Search", elem_id="cl-history-search", scale=0, min_width=0
        )
    parts["history_list"] = html(value="", elem_id="cl-history-list")


def _transactions(parts: dict[str, Any]) -> None:
    parts["transactions"] = html(value="", elem_id="cl-transactions")
    with gr.Row(elem_id="cl-pager"):
        parts["transactions_newer"] = gr.Button(
            "Newer", size="sm", visible=False, scale=0, min_width=0, elem_id="cl-newer"
        )
        parts["transactions_older"] = gr.Button(
            "Older", size="sm", visible=False, scale=0, min_width=0, elem_id="cl-older"
        )


def _topup(parts: dict[str, Any]) -> None:
    parts["topup_mark"] = still("", elem_id="cl-topup-mark")
    parts["packages"] = html(value="", elem_id="cl-packages")
    with gr.Row(elem_id="cl-custom", visible=False) as parts["custom_group"]:
        parts["custom_amount"] = gr.Textbox(
            label="Another amount, in credits",
            max_lines=1,
            max_length=AMOUNT_CHARS_MAX,
            elem_id="cl-custom-amount",
            scale=0,
            min_width=0,
        )
        parts["custom_add"] = gr.Button(
            "Add credits", elem_id="cl-custom-add", scale=0, min_width=0
        )
