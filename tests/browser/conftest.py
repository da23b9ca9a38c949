"""A real Chromium, and visitors who open the page in it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, sync_playwright

from tests.browser.visitor import Visitor

_CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
RESULTS = Path("test-results/browser")
_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


# Playwright keeps an event loop running in this thread while it is open. It must be closed before
# an asynchronous test of another module wants a loop of its own: hence no session scope.
@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    with chromium(playwright) as started:
        yield started


@contextmanager
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """Debian's Chromium with a profile of its own that is thrown away."""
    assert Path(_CHROMIUM).exists(), (
        "This needs Chromium: run `apt-get install -y chromium` and try again."
    )
    started = playwright.chromium.launch(executable_path=_CHROMIUM, args=_ARGUMENTS)
    try:
        yield started
    finally:
        started.close()


@contextmanager
def visiting(
    browser: Browser, name: str, *, width: int = 1280, height: int = 860, dark: bool = False
) -> Iterator[Visitor]:
    """Someone at the page, in a browser profile of their own."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
    )
    visitor = Visitor(context.new_page(), name, RESULTS)
    try:
        yield visitor
    except BaseException:
        if not visitor.page.is_closed():
            visitor.take_picture("failed")
        raise
    finally:
        context.close()
