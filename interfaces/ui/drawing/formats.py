"""Numbers, prices and times as a reader sees them. Credits are exact: no float is involved."""

import re
from datetime import datetime
from decimal import Decimal

from domain.pricing.words import message_price_words, token_price_words
from interfaces.ui.client.responses import Model, PerMessage, PerToken

CREDIT_DECIMALS_MAX = 6
AMOUNT_CHARS_MAX = 32
SECONDS_TOLD_MAX = 120
_AMOUNT = re.compile(r"(\d{1,3}(,\d{3})+|\d+)(\.\d+)?", re.ASCII)
MINUS = "\N{MINUS SIGN}"


class AmountRefused(Exception):
    """What was typed is not an amount of credits; the message says what to change."""


def credits_text(amount: Decimal) -> str:
    """``1234.500000`` as ``1,234.5``."""
    text = f"{abs(amount):,f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return f"{MINUS}{text}" if amount < 0 else text


def signed_text(amount: Decimal) -> str:
    """An amount that changes a balance: always with its sign."""
    return credits_text(amount) if amount <= 0 else f"+{credits_text(amount)}"


def credits_phrase(amount: Decimal) -> str:
    """``1 credit``, ``2 credits``, ``0.25 credits``."""
    return f"{credits_text(amount)} {'credit' if amount == 1 else 'credits'}"


def sentence(text: str) -> str:
    """The API's words with a capital and a full stop, so that they read like the page's own."""
    text = text.strip()
    if not text:
        return ""
    text = text[0].upper() + text[1:]
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def count_phrase(count: int, noun: str) -> str:
    """``1 token``, ``45 tokens``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def wait_phrase(seconds: int) -> str:
    """``1 second``, ``45 seconds``; longer waits in minutes, never less than they take."""
    if seconds <= SECONDS_TOLD_MAX:
        return count_phrase(seconds, "second")
    return count_phrase(-(-seconds // 60), "minute")


def price_phrase(price: PerMessage | PerToken) -> str:
    """A price in words, short enough for a list of models."""
    if isinstance(price, PerMessage):
        return message_price_words(price.credits)
    return token_price_words(
        prompt_per_1000=price.prompt_credits_per_1000,
        completion_per_1000=price.completion_credits_per_1000,
    )


_STATE_WORDS = {
    "not_prepared": " (not prepared)",
    "failed": " (failed to load)",
    "loading": " (loading)",
}


def model_label(model: Model) -> str:
    """How a model stands in the choice: its name, its price, and what keeps it from use."""
    return f"{model.title} — {price_phrase(model.price)}{_STATE_WORDS.get(model.state, '')}"


def seconds_text(latency_ms: int) -> str:
    """``1234`` milliseconds as ``1.2 s``."""
    return f"{latency_ms / 1000:.1f} s"


def answer_facts(*, cost: Decimal | None, tokens: int | None, latency_ms: int | None = None) -> str:
    """The line under an answer: ``2 credits · 45 tokens · 1.2 s``."""
    facts = []
    if cost is not None:
        facts.append("not charged" if cost == 0 else credits_phrase(cost))
    if tokens:
        facts.append(count_phrase(tokens, "token"))
    if latency_ms is not None:
        facts.append(seconds_text(latency_ms))
    return " · ".join(facts)


def time_text(moment: str) -> str:
    """An RFC 3339 time for tables, in UTC: ``22 Nov 2026, 21:04``. Anything else stays as it is."""
    try:
        return datetime.fromisoformat(moment).strftime("%-d %b %Y, %H:%M")
    except ValueError:
        return moment


def date_text(moment: str) -> str:
    """The day of an RFC 3339 time, in UTC: ``22 Nov 2026``. Anything else stays as it is."""
    return time_text(moment).partition(",")[0]


def read_amount(typed: str, *, smallest: Decimal, largest: Decimal) -> Decimal:
    """The credits that a person typed, such as ``1,250.5``.

    A comma only groups thousands: ``12,5`` is refused rather than read as 125.
    Raises AmountRefused with words for that person.
    """
    text = typed.strip().replace(" ", "")
    if not text:
        raise AmountRefused("Type how many credits you want to add.")
    if len(text) > AMOUNT_CHARS_MAX or not _AMOUNT.fullmatch(text):
        raise AmountRefused("Type the credits as a number with a decimal point: 250 or 12.5.")
    amount = Decimal(text.replace(",", ""))
    if len(text.partition(".")[2]) > CREDIT_DECIMALS_MAX:
        raise AmountRefused(f"Credits have at most {CREDIT_DECIMALS_MAX} decimals.")
    if not smallest <= amount <= largest:
        raise AmountRefused(
            f"Choose between {credits_text(smallest)} and {credits_text(largest)} credits."
        )
    return amount
