"""Two people at one page, with real browsers: each sees only what is their own."""

import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, Request, expect
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.browser.conftest import visiting
from tests.browser.serving import free_port, serving
from tests.browser.tiny_page import page_of, signed_in
from tests.browser.visitor import Visitor
from tests.interfaces.ui.tiny_api import TinyApi

SECRET = "Ada writes to the Admiral"


@pytest.fixture
def api() -> TinyApi:
    return TinyApi()


@pytest.fixture
def url(api: TinyApi) -> Iterator[str]:
    port = free_port()
    with serving(lambda: api.app, port), page_of(port) as address:
        yield address


def cookie_of(visitor: Visitor) -> str:
    [cookie] = visitor.page.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    return str(cookie["value"])


def test_a_planted_cookie_is_worth_nothing_after_its_owner_signed_in(
    browser: Browser, url: str
) -> None:
    with httpx.Client(base_url=url, trust_env=False) as thief:
        thief.get("/")
        [planted] = thief.cookies.jar
        assert planted.value
        with visiting(browser, "fixation") as visitor:
            visitor.page.context.add_cookies(
                [{"name": planted.name, "value": planted.value, "url": url}]
            )
            visitor.open(url)
            names = [planted.value]
            visitor.sign_in("grace")
            names.append(cookie_of(visitor))
            assert thief.get("/session").status_code == 403
            visitor.sign_out()
            names.append(cookie_of(visitor))
            assert len(set(names)) == 3
            thief.cookies.set(planted.name, names[1], domain="127.0.0.1")
            assert thief.get("/session").status_code == 403, "dead after signing out"
            visitor.assert_quiet(but="403")


def test_nothing_of_the_first_person_is_left_for_the_second_on_the_same_tab(
    browser: Browser, url: str, api: TinyApi
) -> None:
    api.titles = [SECRET]
    with visiting(browser, "same-tab") as visitor:
        visitor.open(url)
        visitor.sign_in("grace")
        expect(visitor.page.locator("#cl-conversations")).to_contain_text(SECRET)
        visitor.send("A secret question")
        visitor.wait_for_answers(1)
        visitor.prompt.fill("A secret draft")
        visitor.take_picture("1-grace")
        visitor.sign_out()
        visitor.take_picture("2-entry")
        api.titles = []
        visitor.sign_in("bob")
        expect(visitor.page.locator("#cl-person")).to_contain_text("bob")
        expect(visitor.prompt).to_have_value("")
        everything = visitor.page.content() + visitor.page.evaluate(
            "() => JSON.stringify([...document.querySelectorAll('input, textarea')]"
            ".map((one) => one.value))"
        )
        for words in (SECRET, "secret question", "secret draft", "grace"):
            assert words not in everything, words
        visitor.take_picture("3-bob")
        visitor.assert_quiet()


def test_all_tabs_of_a_browser_go_in_and_out_together(browser: Browser, url: str) -> None:
    with visiting(browser, "tabs") as visitor:
        visitor.open(url)
        second = visitor.page.context.new_page()
        second.goto(url)
        expect(second.locator("#cl-entry")).to_be_visible()
        visitor.sign_in("grace")
        expect(second.locator("#cl-prompt textarea")).to_be_visible()
        second.locator("#cl-sign-out").click()
        expect(visitor.page.locator("#cl-entry")).to_be_visible()
        expect(second.locator("#cl-entry")).to_be_visible()
        expect(second.locator("#cl-notice .cl-notice")).to_contain_text("You are signed out")
        expect(visitor.notice).to_have_count(0)
        visitor.assert_quiet()


def test_a_known_tab_of_another_browser_tells_nothing(browser: Browser, url: str) -> None:
    hashes: list[str] = []

    def watch(request: Request) -> None:
        hashes.extend(parse_qs(urlsplit(request.url).query).get("session_hash", []))

    with visiting(browser, "owner") as owner, visiting(browser, "thief") as thief:
        owner.page.on("request", watch)
        owner.open(url)
        owner.sign_in("grace")
        thief.open(url)
        assert hashes
        for path in (f"queue/data?session_hash={hashes[-1]}", f"heartbeat/{hashes[-1]}"):
            assert status_of(thief.page, f"gradio_api/{path}") == 404, path
        owner.send("Still mine?")
        owner.wait_for_answers(1)
        owner.assert_quiet()


def status_of(page: Page, path: str) -> int:
    return int(page.evaluate("async (path) => (await fetch(path)).status", path))


def test_who_finds_no_room_reads_why(browser: Browser, api: TinyApi) -> None:
    port = free_port()
    with (
        serving(lambda: api.app, port),
        page_of(port, tabs_per_browser_max=1) as url,
        visiting(browser, "crowd") as visitor,
    ):
        visitor.open(url)
        second = visitor.page.context.new_page()
        second.goto(url)
        expect(second.locator("body")).to_have_attribute(
            "data-cl-refusal", re.compile("too many tabs of this page open")
        )
        second.screenshot(path="test-results/browser/crowd-1-refused.png")
        second.close()
        visitor.sign_in("grace")
        visitor.assert_quiet()


def test_a_link_of_another_site_leads_in_and_signs_nobody_out(browser: Browser) -> None:
    with signed_in(browser, "linked", TinyApi()) as visitor:
        before, url = cookie_of(visitor), visitor.page.url
        visitor.page.goto("about:blank")
        visitor.page.set_content(f'<a href="{url}">The chat</a>')
        visitor.page.get_by_text("The chat").click()
        expect(visitor.prompt).to_be_visible()
        assert visitor.page.url == url
        assert cookie_of(visitor) == before
        visitor.assert_quiet()


def without_cookies(app: ASGIApp) -> ASGIApp:
    """The page for a browser that does not store cookies."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                del MutableHeaders(scope=message)["set-cookie"]
            await send(message)

        await app(scope, receive, told)

    return served


def test_a_browser_that_keeps_no_cookie_is_told_what_to_allow(
    browser: Browser, api: TinyApi
) -> None:
    port = free_port()
    with (
        serving(lambda: api.app, port),
        page_of(port, seen=without_cookies) as url,
        visiting(browser, "no-cookie") as visitor,
    ):
        visitor.page.goto(url)
        expect(visitor.page.locator("html.cl-no-cookie")).to_have_count(1)
        visitor.take_picture("1-told")
