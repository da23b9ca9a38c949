"""The page against the whole real service: API, PostgreSQL, NATS and Gemma 3 270M."""

import re
import secrets
from contextlib import suppress
from decimal import Decimal

from playwright.sync_api import Browser, expect
from playwright.sync_api import TimeoutError as NotInTime

from tests.browser.api_user import ApiUser
from tests.browser.conftest import visiting
from tests.browser.visitor import Visitor
from tests.support.service import RunningService

PRICE = Decimal(2)


def new_name(kind: str) -> str:
    return f"{kind}{secrets.token_hex(4)}"


def test_a_newcomer_registers_and_pays_for_an_answer(
    browser: Browser, running_service: RunningService
) -> None:
    name = new_name("newcomer")
    with visiting(browser, "newcomer") as visitor:
        visitor.open(running_service.ui_url)
        page = visitor.page
        expect(page.locator("#cl-entry-models")).to_contain_text("2 credits a message")
        visitor.take_picture("1-entry")
        visitor.register(name)
        expect(visitor.notice).to_contain_text("Your account starts with 100 credits")
        expect(visitor.credits).to_have_text(re.compile("100 credits available"))
        expect(page.locator("#cl-model input")).to_have_value("Gemma 3 270M — 2 credits a message")
        visitor.take_picture("2-empty")

        visitor.send("What is the capital of France?")
        answer = visitor.wait_for_answers(1)
        expect(answer.locator(".cl-facts")).to_have_text(
            re.compile(r"^2 credits · \d+ tokens? · [\d.]+ s · receipt$")
        )
        expect(visitor.credits).to_have_text(re.compile(r"^\s*98 credits available\s*$"))
        visitor.take_picture("3-answered")
        words = answer.locator(".cl-body").inner_text()
        assert words.strip()

        answer.get_by_role("button", name="receipt").click()
        expect(answer.locator(".cl-receipt")).to_contain_text(
            "Charged\n2 credits", use_inner_text=True
        )
        visitor.take_picture("4-receipt")

        with ApiUser(running_service.api_url, name) as user:
            assert user.get("/billing/balance")["available"] == Decimal(98)
            debit, grant = user.get("/billing/transactions")["items"]
            assert (debit["type"], debit["amount"]) == ("debit", -PRICE)
            assert (grant["type"], grant["amount"]) == ("grant", Decimal(100))
            receipt = user.get(f"/billing/receipts/{debit['message_id']}")
            assert receipt["charged"] == PRICE
        visitor.assert_quiet()


def test_history_transactions_and_top_up_agree_with_the_ledger(
    browser: Browser, running_service: RunningService
) -> None:
    name = new_name("reader")
    with visiting(browser, "reader") as visitor:
        visitor.open(running_service.ui_url)
        visitor.register(name)
        page = visitor.page
        visitor.send("Name a river in Egypt.")
        visitor.wait_for_answers(1)

        visitor.choose_tab("History")
        rows = page.locator("#cl-history-list .cl-history > li")
        expect(rows).to_have_count(2)
        expect(rows.last).to_contain_text("Name a river in Egypt.")
        expect(rows.first).to_contain_text("2 credits")
        visitor.take_picture("1-history")
        visitor.fill("#cl-history-text", "no such words anywhere")
        page.locator("#cl-history-search").click()
        expect(page.locator("#cl-history-list")).to_contain_text("Nothing found")
        visitor.fill("#cl-history-text", "river in EGYPT")
        page.locator("#cl-history-search").click()
        expect(rows).not_to_have_count(0)
        rows.last.get_by_role("button", name="open").click()
        expect(visitor.prompt).to_be_visible()
        expect(page.locator("#cl-heading")).to_contain_text("Name a river in Egypt.")

        visitor.choose_tab("Transactions")
        movements = page.locator("#cl-transactions tbody tr")
        expect(movements).to_have_count(2)
        expect(movements.first.locator(".cl-amount")).to_have_text("−2")
        expect(movements.first.locator(".cl-balance")).to_have_text("98")
        expect(movements.last.locator(".cl-amount")).to_have_text("+100")
        movements.first.get_by_role("button", name="receipt").click()
        expect(page.locator("#cl-transactions .cl-receipt")).to_contain_text("Charged")
        visitor.take_picture("2-transactions")

        visitor.choose_tab("Top up")
        expect(page.locator("#cl-topup-mark")).to_contain_text("Development credit")
        visitor.take_picture("3-top-up")
        with ApiUser(running_service.api_url, name) as user:
            package = max(
                user.get("/billing/packages")["items"], key=lambda one: Decimal(one["bonus"])
            )
            added = Decimal(package["credits"]) + Decimal(package["bonus"])
            page.locator(f"[data-value='{package['package_id']}']").click()
            expect(visitor.notice).to_contain_text("development credit")
            expect(visitor.credits).to_contain_text(f"{98 + added:,f}")
            visitor.fill("#cl-custom-amount", "12.345678")
            page.locator("#cl-custom-add").click()
            total = 98 + added + Decimal("12.345678")
            expect(visitor.credits).to_contain_text(f"{total:,f}")
            visitor.fill("#cl-custom-amount", "12,5")
            page.locator("#cl-custom-add").click()
            expect(visitor.notice).to_contain_text("decimal point")
            assert user.get("/billing/balance")["available"] == total
        visitor.choose_tab("Transactions")
        expect(page.locator("#cl-transactions tbody tr[data-type='purchase']")).to_have_count(2)
        expect(page.locator("#cl-transactions tbody tr[data-type='bonus']")).to_have_count(1)
        visitor.assert_quiet()


def test_an_empty_account_is_told_to_top_up_and_keeps_its_words(
    browser: Browser, running_service: RunningService
) -> None:
    name = new_name("poor")
    with visiting(browser, "poor") as visitor:
        visitor.open(running_service.ui_url)
        visitor.register(name)
        with ApiUser(running_service.api_url, name) as user:
            user.spend_all()
        visitor.send("Can you still hear me?")
        button = visitor.notice.get_by_role("button", name="Top up credits")
        expect(button).to_be_visible()
        expect(visitor.prompt).to_have_value("Can you still hear me?")
        expect(visitor.credits).to_contain_text("0 credits")
        visitor.take_picture("1-refused")
        button.click()
        visitor.page.locator("#cl-packages [data-action=package]").first.click()
        expect(visitor.notice).to_contain_text("added")
        visitor.choose_tab("Chat")
        visitor.prompt.press("Enter")
        visitor.wait_for_answers(1)
        visitor.assert_quiet()


def test_a_stopped_answer_leaves_no_hold_and_its_receipt_agrees(
    browser: Browser, running_service: RunningService
) -> None:
    name = new_name("hasty")
    with visiting(browser, "hasty") as visitor:
        visitor.open(running_service.ui_url)
        visitor.register(name)
        visitor.send("Write a very long story about a ship, a storm and an island.")
        # A model that finds an end by itself, on one processor or another, needs no stop.
        with suppress(NotInTime):
            visitor.page.locator("#cl-stop").click(timeout=10_000)
        expect(visitor.page.locator("#cl-send")).to_be_visible()
        expect(visitor.credits).not_to_contain_text("held")
        with ApiUser(running_service.api_url, name) as user:
            balance = user.get("/billing/balance")
            assert balance["held"] == 0
            # Stopped before the first token: nothing is charged; after it: the price of a message.
            answered = visitor.answers.count()
            assert balance["available"] == 100 - PRICE * answered
            if answered and "stopped" in visitor.answers.last.inner_text():
                last = user.get("/chat/history")["items"][0]
                assert last["finish_reason"] == "cancelled"
        visitor.assert_quiet()


def test_a_reload_keeps_the_sign_in_and_signing_out_ends_it(
    browser: Browser, running_service: RunningService
) -> None:
    name = new_name("returning")
    with visiting(browser, "returning") as visitor:
        visitor.open(running_service.ui_url)
        visitor.register(name)
        visitor.send("Good morning!")
        visitor.wait_for_answers(1)
        visitor.page.reload()
        expect(visitor.prompt).to_be_visible()
        row = visitor.page.locator("#cl-conversations .cl-conversation")
        expect(row).to_contain_text("Good morning!")
        row.click()
        expect(visitor.answers).to_have_count(1)
        [cookie] = visitor.page.context.cookies()
        assert cookie["httpOnly"]
        assert cookie["sameSite"] == "Strict"
        assert cookie["expires"] == -1
        stored = visitor.page.evaluate("() => JSON.stringify([localStorage, sessionStorage])")
        assert "eyJ" not in stored, "no token may lie in the browser's storage"
        visitor.sign_out()
        visitor.page.reload()
        expect(visitor.page.locator("#cl-entry")).to_be_visible()
        visitor.sign_in(name)
        # Gradio remarks on the stream that a reload cuts off.
        visitor.assert_quiet(but="AbortError")


def test_conversations_are_renamed_and_deleted_after_a_question(
    browser: Browser, running_service: RunningService
) -> None:
    with visiting(browser, "tidy") as visitor:
        visitor.open(running_service.ui_url)
        visitor.register(new_name("tidy"))
        page = visitor.page
        visitor.send("<img src=x onerror=alert(1)> ${1+1} {{value}}")
        visitor.wait_for_answers(1)
        expect(page.locator("#cl-transcript .cl-user")).to_contain_text("onerror=alert(1)")
        assert page.locator("#cl-transcript img, #cl-conversations img").count() == 0
        page.locator("#cl-rename").click()
        visitor.fill("#cl-rename-title", "<b onclick=alert(2)>A title</b>")
        page.locator("#cl-rename-save").click()
        expect(page.locator("#cl-heading")).to_contain_text("<b onclick=alert(2)>A title</b>")
        expect(page.locator("#cl-conversations")).to_contain_text("<b onclick=alert(2)>A title</b>")
        page.locator("#cl-delete").click()
        page.locator("#cl-delete-no").click()
        expect(page.locator("#cl-delete-row")).to_be_hidden()
        page.locator("#cl-delete").click()
        page.locator("#cl-delete-yes").click()
        expect(visitor.notice).to_contain_text("deleted")
        expect(page.locator("#cl-conversations")).to_contain_text("will be listed here")
        visitor.assert_quiet()


def test_the_page_fits_a_phone_in_the_dark(
    browser: Browser, running_service: RunningService
) -> None:
    with visiting(browser, "phone", width=390, height=844, dark=True) as visitor:
        visitor.open(running_service.ui_url)
        assert not visitor.is_wider_than_its_window()
        visitor.register(new_name("phone"))
        visitor.send("What is a ledger?")
        visitor.wait_for_answers(1)
        visitor.take_picture("1-chat")
        for tab, place in (
            ("Chat", "#cl-transcript article"),
            ("History", "#cl-history-list li"),
            ("Transactions", "#cl-transactions tr"),
            ("Top up", "#cl-packages section"),
        ):
            visitor.choose_tab(tab)
            expect(visitor.page.locator(place).last).to_be_visible()
            assert not visitor.is_wider_than_its_window(), tab
            visitor.take_picture(f"2-{tab.lower().replace(' ', '-')}")
        visitor.choose_tab("Chat")
        visitor.page.locator("#cl-list-toggle").click()
        row = visitor.page.locator("#cl-conversations .cl-conversation")
        row.click()
        expect(row).to_be_hidden()
        visitor.assert_quiet()


def test_an_unprepared_model_is_shown_and_explained_but_cannot_be_asked(
    browser: Browser, running_service: RunningService
) -> None:
    with visiting(browser, "models") as visitor:
        visitor.open(running_service.ui_url)
        visitor.register(new_name("models"))
        choose_model(visitor, "Gemma 3 1B — 10 credits a message (not prepared)")
        expect(visitor.page.locator("#cl-model-note")).to_contain_text("cannot answer yet")
        expect(visitor.page.locator("#cl-send")).to_be_disabled()
        choose_model(visitor, "Gemma 3 270M — 2 credits a message")
        expect(visitor.page.locator("#cl-send")).to_be_enabled()
        visitor.assert_quiet()


def choose_model(visitor: Visitor, label: str) -> None:
    visitor.page.locator("#cl-model input").click()
    visitor.page.get_by_role("option", name=label).click()
