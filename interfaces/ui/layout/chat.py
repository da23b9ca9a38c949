"""The chat and its list of conversations, laid out."""

from typing import Any

import gradio as gr

from interfaces.ui.client.settings import UiSettings
from interfaces.ui.layout.pieces import html, still

TITLE_CHARS_MAX = 120


def chat(parts: dict[str, Any], settings: UiSettings) -> None:
    parts["model_timer"] = gr.Timer(settings.model_poll_s, active=False)
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
