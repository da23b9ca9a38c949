"""The entry, where people sign in, and the tabs beside the chat, laid out."""

from typing import Any

import gradio as gr

from interfaces.ui.drawing.formats import AMOUNT_CHARS_MAX
from interfaces.ui.drawing.pieces import LOADING
from interfaces.ui.layout.pieces import field, html, still

EVERY_CONVERSATION, EVERY_MODEL = "", ""
NAME_CHARS_MAX, EMAIL_CHARS_MAX, PASSWORD_CHARS_MAX = 64, 254, 128
SEARCH_CHARS_MAX = 200


def entry(parts: dict[str, Any]) -> None:
    with gr.Column(elem_classes="cl-card"):
        still(
            '<div class="cl-welcome"><h2>Chat with Gemma 3, and see what every answer costs</h2>'
            "<p>You pay with prepaid credits, only for answers that arrive. "
            "A new account starts with welcome credits, so you can try it at once.</p></div>"
        )
        parts["entry_models"] = still("", elem_id="cl-entry-models")
        with gr.Tabs(elem_id="cl-entry-tabs"):
            with gr.Tab("Sign in", id="sign-in"):
                parts["login_name"] = field(
                    "Username or e-mail",
                    "cl-login-name",
                    chars_max=EMAIL_CHARS_MAX,
                    html_attributes=gr.InputHTMLAttributes(autocomplete="username"),
                )
                parts["login_password"] = field(
                    "Password", "cl-login-password", chars_max=PASSWORD_CHARS_MAX, type="password"
                )
                parts["sign_in"] = gr.Button("Sign in", variant="primary", elem_id="cl-sign-in")
            with gr.Tab("Create account", id="register"):
                parts["new_name"] = field("Username", "cl-new-name", chars_max=NAME_CHARS_MAX)
                parts["new_email"] = field(
                    "E-mail", "cl-new-email", chars_max=EMAIL_CHARS_MAX, type="email"
                )
                parts["new_password"] = field(
                    "Password", "cl-new-password", chars_max=PASSWORD_CHARS_MAX, type="password"
                )
                parts["register"] = gr.Button(
                    "Create account", variant="primary", elem_id="cl-register"
                )


def history(parts: dict[str, Any]) -> None:
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
    parts["history_list"] = html(value=LOADING, elem_id="cl-history-list")


def transactions(parts: dict[str, Any]) -> None:
    parts["transactions"] = html(value=LOADING, elem_id="cl-transactions")
    with gr.Row(elem_id="cl-pager"):
        parts["transactions_newer"] = gr.Button(
            "Newer", size="sm", visible=False, scale=0, min_width=0, elem_id="cl-newer"
        )
        parts["transactions_older"] = gr.Button(
            "Older", size="sm", visible=False, scale=0, min_width=0, elem_id="cl-older"
        )


def topup(parts: dict[str, Any]) -> None:
    parts["topup_mark"] = still("", elem_id="cl-topup-mark")
    parts["packages"] = html(value=LOADING, elem_id="cl-packages")
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
