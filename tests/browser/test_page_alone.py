"""The page in a real browser, with an API whose answers the test chooses: texts that no model would
write reliably, and services that go away."""

from contextlib import ExitStack

from playwright.sync_api import Browser, expect

from tests.browser.conftest import visiting
from tests.browser.serving import free_port, serving
from tests.browser.tiny_page import page_of, signed_in
from tests.interfaces.ui.tiny_api import TinyApi

HOSTILE = (
    "**bold** <img src=x onerror=alert(1)><script>alert(2)</script> ${alert(3)} {{value}} "
    "[link](javascript:alert(4)) ![i](http://evil.example/i.png) <https://evil.example>"
)


def test_hostile_words_of_a_model_stay_words(browser: Browser) -> None:
    with signed_in(browser, "hostile", TinyApi(HOSTILE.split("|"))) as visitor:
        visitor.send("Say something bad.")
        answer = visitor.wait_for_answers(1)
        body = answer.locator(".cl-body")
        expect(body).to_contain_text("<img src=x onerror=alert(1)>")
        expect(body).to_contain_text("${alert(3)} {{value}}")
        assert body.locator("strong").inner_text() == "bold"
        assert body.locator("img, script, a, iframe").count() == 0
        visitor.take_picture("1-answer")
        visitor.assert_quiet()


def test_stop_closes_the_stream_and_shows_what_was_kept(browser: Browser) -> None:
    api = TinyApi(["Once", " upon"], hold_open=True)
    with signed_in(browser, "stop", api) as visitor:
        visitor.send("A story, please.")
        live = visitor.page.locator("#cl-live .cl-assistant")
        expect(live).to_contain_text("Once upon")
        expect(visitor.credits).to_contain_text("96.000001 credits")
        expect(visitor.credits).to_contain_text("2 held")
        visitor.prompt.fill("typed meanwhile")
        visitor.prompt.press("Enter")
        visitor.take_picture("1-under-way")
        visitor.page.locator("#cl-stop").click()
        answer = visitor.wait_for_answers(1)
        expect(answer).to_contain_text("Once upon")
        expect(answer.locator(".cl-facts")).to_contain_text("stopped · 2 credits")
        expect(visitor.credits).not_to_contain_text("held")
        expect(visitor.prompt).to_have_value("typed meanwhile")
        assert api.stream_closed
        assert len(api.keys) == 1, "Enter sends nothing while an answer is under way"
        visitor.assert_quiet()


def test_a_closed_tab_stops_the_model(browser: Browser) -> None:
    api = TinyApi(["Once"], hold_open=True)
    with signed_in(browser, "closed", api) as visitor:
        visitor.send("A story, please.")
        expect(visitor.page.locator("#cl-live .cl-assistant")).to_contain_text("Once")
        visitor.page.close()
        with visiting(browser, "closed-look") as other:
            # The browser is the only clock here, so any page of it will do to wait.
            other.page.wait_for_timeout(100)
            for _ in range(300):
                if api.stream_closed:
                    break
                other.page.wait_for_timeout(100)
        assert api.stream_closed


def test_words_are_kept_while_the_service_is_away(browser: Browser) -> None:
    api_port = free_port()
    with page_of(api_port) as url, visiting(browser, "away") as visitor, ExitStack() as away:
        visitor.open(url)
        expect(visitor.notice).to_contain_text("cannot be reached")
        visitor.take_picture("1-entry")
        with serving(lambda: TinyApi().app, api_port):
            visitor.notice.get_by_role("button", name="Try again").click()
            expect(visitor.page.locator("#cl-entry-models")).to_contain_text("2 credits a message")
            visitor.sign_in("grace")
        visitor.send("Is anybody there?")
        expect(visitor.notice).to_contain_text("still in the box")
        expect(visitor.prompt).to_have_value("Is anybody there?")
        expect(visitor.credits).to_contain_text("98.000001 credits")
        visitor.take_picture("2-chat")
        away.enter_context(serving(lambda: TinyApi().app, api_port))
        visitor.prompt.press("Enter")
        visitor.wait_for_answers(1)
        expect(visitor.notice).to_have_count(0)
        visitor.assert_quiet()


def test_a_session_that_ended_leads_to_the_door_and_back_to_the_words_typed(
    browser: Browser,
) -> None:
    api = TinyApi()
    with signed_in(browser, "ended", api) as visitor:
        api.is_revoked = True
        visitor.send("Am I still here?")
        expect(visitor.page.locator("#cl-entry")).to_be_visible()
        expect(visitor.notice).to_contain_text("sign in again")
        expect(visitor.page.locator("body")).not_to_contain_text("Am I still here?")
        api.is_revoked = False
        visitor.sign_in("grace")
        expect(visitor.prompt).to_have_value("Am I still here?")
        visitor.assert_quiet()


def test_an_answer_says_what_no_longer_fitted(browser: Browser) -> None:
    api = TinyApi()
    api.turns_dropped = 4
    with signed_in(browser, "dropped", api) as visitor:
        visitor.send("What did I say first?")
        answer = visitor.wait_for_answers(1)
        expect(answer.locator(".cl-dropped")).to_have_text(
            "Earlier messages no longer fit the model’s window: 2 exchanges were left out."
        )
        visitor.take_picture("1-answer")
        visitor.assert_quiet()
