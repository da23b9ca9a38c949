"""History, transactions and packages as HTML."""

from decimal import Decimal
from typing import Any

from markupsafe import Markup

from interfaces.ui.client.responses import HistoryItem, Package, Packages, Transaction
from interfaces.ui.drawing.formats import (
    answer_facts,
    credits_phrase,
    credits_text,
    signed_text,
    time_text,
)
from interfaces.ui.drawing.markdown import formatted, plain
from interfaces.ui.drawing.pieces import EMPTY, button, empty_state, join
from interfaces.ui.drawing.receipt import receipt_html

_EXCERPT_CHARS = 400

_TYPE_WORDS = {
    "purchase": "Purchase",
    "bonus": "Bonus",
    "grant": "Gift",
    "debit": "Answer",
    "refund": "Refund",
    "adjustment": "Correction",
    "expiry": "Expired",
}


def history_html(
    items: list[HistoryItem], titles: dict[str, str], *, is_filtered: bool, has_more: bool
) -> str:
    """Messages, newest first, each with a way to its conversation."""
    if not items:
        if is_filtered:
            return str(empty_state("Nothing found", "No message fits these filters."))
        return str(
            empty_state("No messages yet", "Everything you ask and every answer is kept here.")
        )
    rows = join(_history_row(item, titles) for item in items)
    more = button("Show older messages", "older", kind="small") if has_more else EMPTY
    return str(
        Markup('<ol class="cl-history">{}</ol><div class="cl-more">{}</div>').format(rows, more)
    )


def _history_row(item: HistoryItem, titles: dict[str, str]) -> Markup:
    speaker = "You" if item.role == "user" else titles.get(item.model or "", item.model or "Model")
    text = item.content or ""
    if len(text) > _EXCERPT_CHARS:
        text = text[:_EXCERPT_CHARS].rstrip() + "…"
    facts = (
        "" if item.role == "user" else answer_facts(cost=item.cost, tokens=item.completion_tokens)
    )
    if item.status == "failed":
        facts = "failed, not charged"
    elif item.status == "pending":
        facts = "under way"
    return Markup(
        '<li class="cl-{}"><div class="cl-history-head"><b>{}</b>'
        '<span class="cl-muted">{}</span>{}</div><div class="cl-body">{}</div>'
        '<div class="cl-muted">{}</div></li>'
    ).format(
        item.role,
        speaker,
        f"{time_text(item.created_at)} UTC",
        button("open", "open", item.conversation_id),
        plain(text) if item.role == "user" else formatted(text),
        facts,
    )


def transactions_html(items: list[Transaction], receipts: dict[str, dict[str, Any]]) -> str:
    """The account's movements, newest first."""
    if not items:
        return str(
            empty_state("No transactions yet", "Top-ups and answers you paid for appear here.")
        )
    rows = join(_transaction_row(item, receipts) for item in items)
    return str(
        Markup(
            '<table class="cl-table"><thead><tr><th scope="col">Time (UTC)</th>'
            '<th scope="col">What</th><th scope="col" class="cl-number">Credits</th>'
            '<th scope="col" class="cl-number">Balance</th></tr></thead><tbody>{}</tbody></table>'
        ).format(rows)
    )


def _transaction_row(item: Transaction, receipts: dict[str, dict[str, Any]]) -> Markup:
    receipt = receipts.get(item.message_id or "")
    link = EMPTY
    if item.type == "debit" and item.message_id:
        label = "receipt" if receipt is None else "hide receipt"
        link = button(label, "receipt", item.message_id)
    row = Markup(
        '<tr data-type="{}"><td class="cl-time">{}</td><td class="cl-what">'
        '<span class="cl-badge">{}</span> <span>{}</span> {}</td>'
        '<td class="cl-number cl-amount">{}</td><td class="cl-number cl-balance">{}</td></tr>'
    ).format(
        item.type,
        time_text(item.created_at),
        _TYPE_WORDS.get(item.type, item.type.capitalize()),
        item.description or "",
        link,
        signed_text(item.amount),
        credits_text(item.balance_after),
    )
    if receipt is None:
        return row
    return row + Markup('<tr class="cl-receipt-row"><td colspan="4">{}</td></tr>').format(
        receipt_html(receipt)
    )


def packages_html(packages: Packages) -> str:
    """Cards of what can be bought."""
    if not packages.items:
        return str(empty_state("No packages", "This server offers no packages."))
    cards = join(_package_card(one, is_free=packages.development) for one in packages.items)
    return str(Markup('<div class="cl-packages">{}</div>').format(cards))


def _package_card(package: Package, *, is_free: bool) -> Markup:
    bonus = EMPTY
    if package.bonus:
        bonus = Markup('<p class="cl-bonus">+ {} bonus</p>').format(credits_text(package.bonus))
    label = f"Add {credits_phrase(package.credits + package.bonus)}"
    price = f"{package.price} {package.currency}"
    return Markup(
        '<section class="cl-package"><h3>{}</h3><p class="cl-big">{}<small> credits</small></p>{}'
        '<p class="cl-muted">{}</p>{}</section>'
    ).format(
        package.title,
        credits_text(package.credits),
        bonus,
        f"{price}, not charged in development" if is_free else price,
        button(label, "package", package.package_id, kind="primary"),
    )


def development_html(is_development: bool) -> str:
    """The mark that no money moves here."""
    if not is_development:
        return ""
    return str(
        Markup(
            '<div class="cl-notice cl-info" role="note"><span><b>Development credit.</b> '
            "Credits are added at once, and no money is charged.</span></div>"
        )
    )


def added_text(credited: Decimal, bonus: Decimal, *, is_development: bool) -> str:
    """What a top-up did, in one sentence."""
    parts = f"{credits_phrase(credited)} added"
    if bonus:
        parts += f", and {credits_phrase(bonus)} of bonus"
    return f"{parts} (development credit, no money was charged)." if is_development else f"{parts}."
