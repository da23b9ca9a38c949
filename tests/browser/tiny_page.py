"""The page with an API whose answers a test chooses."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser
from starlette.types import ASGIApp

from interfaces.ui.app import build_app
from interfaces.ui.client.settings import UiSettings
from tests.browser.conftest import visiting
from tests.browser.serving import free_port, serving
from tests.browser.visitor import Visitor
from tests.interfaces.ui.tiny_api import TinyApi


@contextmanager
def page_of(
    api_port: int, seen: Callable[[ASGIApp], ASGIApp] = lambda app: app, **bounds: Any
) -> Iterator[str]:
    """``seen`` sees everything between the page and its browser."""
    settings = UiSettings(api_url=f"http://127.0.0.1:{api_port}", settle_timeout_s=3, **bounds)
    port = free_port()
    with serving(lambda: seen(build_app(settings)), port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def signed_in(browser: Browser, name: str, api: TinyApi) -> Iterator[Visitor]:
    port = free_port()
    with (
        serving(lambda: api.app, port),
        page_of(port) as url,
        visiting(browser, name) as visitor,
    ):
        visitor.open(url)
        visitor.sign_in("grace")
        yield visitor
