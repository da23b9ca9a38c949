"""The pictures in the README, taken of the real page: `python -m tools.screenshots`.

The service runs with the real model on free ports, in a temporary folder, and is ended afterwards.
Needs Chromium (`sh scripts/chromium.sh`). Times, ids, the answers' wording and the processor's name
differ from run to run; what is done on the page does not.
"""

from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from tests.browser.conftest import chromium, visiting
from tests.browser.visitor import Visitor
from tests.support.service import prepare_gemma, whole_service

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
NAME = "ada"
WIDTH = 1200


def take_chat_with_receipt(visitor: Visitor) -> None:
    visitor.send("What is the capital of France?")
    answer = visitor.wait_for_answers(1)
    answer.get_by_role("button", name="receipt").click()
    expect(answer.locator(".cl-receipt")).to_contain_text("Computed on")
    save(visitor, "chat-with-receipt", height=920)


def take_transactions(visitor: Visitor) -> None:
    """Welcome credits, two answers, a purchase with its bonus, and another answer."""
    page = visitor.page
    visitor.answers.last.get_by_role("button", name="hide receipt").click()
    visitor.send("What is the capital of Italy?")
    visitor.wait_for_answers(2)
    visitor.choose_tab("Top up")
    page.locator("#cl-packages section", has_text="bonus").first.get_by_role("button").click()
    expect(visitor.notice).to_contain_text("of bonus")
    visitor.choose_tab("Chat")
    visitor.send("What is the capital of Spain?")
    visitor.wait_for_answers(3)
    visitor.choose_tab("Transactions")
    expect(page.locator("#cl-transactions tbody tr")).to_have_count(6)
    save(visitor, "transactions", height=540)


def save(visitor: Visitor, name: str, *, height: int) -> None:
    path = PICTURES / f"{name}.png"
    visitor.page.set_viewport_size({"width": WIDTH, "height": height})
    visitor.page.screenshot(path=path, animations="disabled", caret="hide")
    print(f"wrote {path} ({path.stat().st_size // 1000} kB)")


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    prepare_gemma()
    with (
        whole_service() as service,
        sync_playwright() as playwright,
        chromium(playwright) as browser,
        visiting(browser, NAME, width=WIDTH) as visitor,
    ):
        visitor.open(service.ui_url)
        visitor.register(NAME)
        take_chat_with_receipt(visitor)
        take_transactions(visitor)
        visitor.assert_quiet()


if __name__ == "__main__":
    main()
