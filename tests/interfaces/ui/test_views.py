"""What the page changes when it shows something."""

import gradio as gr

from interfaces.ui.client.settings import UiSettings
from interfaces.ui.handlers.views import Views
from interfaces.ui.layout.page import build_layout


async def test_what_was_typed_at_the_door_before_the_page_was_ready_stays() -> None:
    with gr.Blocks():
        ui = build_layout(UiSettings())
    changed = set(Views(ui).signed_out([]))

    assert ui.entry in changed
    assert not changed & {
        *(ui.login_name, ui.login_password),
        *(ui.new_name, ui.new_email, ui.new_password),
    }


async def test_a_password_does_not_stay_in_its_field_once_it_has_let_somebody_in() -> None:
    with gr.Blocks():
        ui = build_layout(UiSettings())
    updates = Views(ui).exchange("code")

    assert updates[ui.login_password] == updates[ui.new_password] == ""
