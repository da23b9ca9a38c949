"""What a person does at the page, and what their browser notices meanwhile."""

from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Locator, Page, expect

TIMEOUT_MS = 30_000
PASSWORD = "A-long-enough-passphrase-1"
# Chromium only gives advice about password fields outside of forms; that is not among these.
_LOUD = {"error", "warning"}


class Visitor:
    """One open page. Records every host that it asks, and everything that goes wrong."""

    def __init__(self, page: Page, name: str, results: Path) -> None:
        self.page = page
        self.name = name
        self.hosts: set[str] = set()
        self.troubles: list[str] = []
        self._results = results
        page.set_default_timeout(TIMEOUT_MS)
        expect.set_options(timeout=TIMEOUT_MS)
        page.on("request", lambda request: self._asked(request.url))
        page.on("pageerror", lambda error: self.troubles.append(f"script error: {error}"))
        page.on("dialog", lambda dialog: self._dialog(dialog.message))
        page.on(
            "console",
            lambda said: (
                self.troubles.append(f"console: {said.text}") if said.type in _LOUD else None
            ),
        )

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"data", "blob"}:
            self.hosts.add(parts.hostname or url)

    def _dialog(self, message: str) -> None:
        self.troubles.append(f"a script of the content ran: {message}")

    def take_picture(self, what: str) -> None:
        """For a person to look at; nothing is compared with it."""
        self.page.screenshot(path=self._results / f"{self.name}-{what}.png")

    def open(self, url: str) -> None:
        self.page.goto(url)
        expect(self.page.locator("#cl-entry")).to_be_visible()

    def register(self, username: str) -> None:
        self.page.get_by_role("tab", name="Create account").click()
        self.fill("#cl-new-name", username)
        self.fill("#cl-new-email", f"{username}@example.com")
        self.fill("#cl-new-password", PASSWORD)
        self.page.locator("#cl-register").click()
        expect(self.prompt).to_be_visible()

    def sign_in(self, username: str) -> None:
        self.fill("#cl-login-name", username)
        self.fill("#cl-login-password", PASSWORD)
        self.page.locator("#cl-login-password input").press("Enter")
        expect(self.prompt).to_be_visible()

    def sign_out(self) -> None:
        """Ends on the page that opens again by itself, with nothing of before in it."""
        with self.page.expect_navigation():
            self.page.locator("#cl-sign-out").click()
        expect(self.notice).to_contain_text("You are signed out")

    def fill(self, place: str, text: str) -> None:
        self.page.locator(f"{place} input, {place} textarea").first.fill(text)

    def send(self, text: str) -> None:
        self.prompt.fill(text)
        self.prompt.press("Enter")

    def wait_for_answers(self, count: int) -> Locator:
        """Wait until there are that many answers and none is under way. Returns the last."""
        expect(self.answers).to_have_count(count)
        expect(self.page.locator("#cl-send")).to_be_visible()
        return self.answers.last

    def choose_tab(self, name: str) -> None:
        self.page.locator("#cl-tabs").get_by_role("tab", name=name, exact=True).click()

    @property
    def prompt(self) -> Locator:
        return self.page.locator("#cl-prompt textarea")

    @property
    def answers(self) -> Locator:
        return self.page.locator("#cl-transcript .cl-assistant")

    @property
    def credits(self) -> Locator:
        return self.page.locator("#cl-credits")

    @property
    def notice(self) -> Locator:
        return self.page.locator("#cl-notice .cl-notice")

    def is_wider_than_its_window(self) -> bool:
        return bool(
            self.page.evaluate("() => document.documentElement.scrollWidth > window.innerWidth")
        )

    def assert_quiet(self, *, but: str = "") -> None:
        """Assert that no other host was asked, and that no script failed."""
        assert self.hosts == {"127.0.0.1"}, f"the page asked other hosts: {self.hosts}"
        left = [trouble for trouble in self.troubles if not but or but not in trouble]
        assert not left, "\n".join(left)
