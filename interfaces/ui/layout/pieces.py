"""Pieces that every part of the layout is made of."""

from typing import Any

import gradio as gr

# Clicks on the page's own buttons travel to Python as (action, value) of one delegated event.
_FORWARD_CLICKS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-action]');
  if (button && !button.disabled) {
    trigger('click', {action: button.dataset.action, value: button.dataset.value || ''});
  }
});
"""


def html(**options: Any) -> Any:
    """An HTML place whose buttons send their actions to Python."""
    return gr.HTML(js_on_load=_FORWARD_CLICKS, apply_default_css=False, **options)


def still(value: str, **options: Any) -> Any:
    """An HTML place that is only read."""
    return gr.HTML(value, js_on_load=None, apply_default_css=False, **options)


def field(label: str, identity: str, *, chars_max: int, **options: Any) -> Any:
    attributes = options.pop("html_attributes", None)
    return gr.Textbox(
        label=label,
        elem_id=identity,
        max_lines=1,
        max_length=chars_max,
        html_attributes=attributes,
        **options,
    )
