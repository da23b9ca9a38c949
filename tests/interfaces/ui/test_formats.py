"""Numbers and prices as a reader sees them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interfaces.ui.client.responses import Model, PerMessage, PerToken
from interfaces.ui.drawing.formats import (
    AmountRefused,
    answer_facts,
    credits_phrase,
    credits_text,
    date_text,
    model_label,
    read_amount,
    sentence,
    signed_text,
    time_text,
)

AMOUNTS = st.decimals(min_value=-(10**12), max_value=10**12, places=6)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "0"),
        ("0.000000", "0"),
        ("2", "2"),
        ("0.000001", "0.000001"),
        ("1234.500000", "1,234.5"),
        ("100", "100"),
        ("1E+3", "1,000"),
        ("-2", "−2"),
    ],
)
def test_credits_are_shown_without_trailing_zeros(amount: str, text: str) -> None:
    assert credits_text(Decimal(amount)) == text


@given(AMOUNTS)
def test_no_digit_of_an_amount_is_ever_lost(amount: Decimal) -> None:
    shown = credits_text(amount).replace(",", "").replace("−", "-")
    assert Decimal(shown) == amount
    assert not shown.endswith(".")


def test_one_credit_is_not_plural() -> None:
    assert credits_phrase(Decimal(1)) == "1 credit"
    assert credits_phrase(Decimal("1.000000")) == "1 credit"
    assert credits_phrase(Decimal("0.5")) == "0.5 credits"


def test_a_movement_always_shows_its_sign() -> None:
    assert signed_text(Decimal(100)) == "+100"
    assert signed_text(Decimal("-0.25")) == "−0.25"
    assert signed_text(Decimal(0)) == "0"


def model(price: PerMessage | PerToken, state: str = "ready") -> Model:
    return Model(name="m", title="Gemma 3 270M", state=state, price=price)


def test_a_model_is_offered_with_its_price_and_what_keeps_it_from_use() -> None:
    each = PerMessage(credits=Decimal(2))
    tokens = PerToken(
        prompt_credits_per_1000=Decimal("0.25"), completion_credits_per_1000=Decimal("1.50")
    )
    assert model_label(model(each)) == "Gemma 3 270M — 2 credits a message"
    assert model_label(model(each, "not_prepared")).endswith("2 credits a message (not prepared)")
    assert model_label(model(tokens)) == "Gemma 3 270M — 0.25 credits in, 1.5 out per 1,000 tokens"
    assert model(each, "prepared").is_usable
    assert not model(each, "failed").is_usable


def test_the_line_under_an_answer_tells_cost_tokens_and_time() -> None:
    facts = answer_facts(cost=Decimal(2), tokens=45, latency_ms=1234)
    assert facts == "2 credits · 45 tokens · 1.2 s"
    assert answer_facts(cost=Decimal(0), tokens=1) == "not charged · 1 token"
    assert answer_facts(cost=None, tokens=None) == ""


def test_times_are_read_and_anything_else_is_left_alone() -> None:
    assert time_text("2026-11-02T21:04:59.123Z") == "2 Nov 2026, 21:04"
    assert date_text("2026-11-02T21:04:59Z") == "2 Nov 2026"
    assert time_text("yesterday") == "yesterday"


def test_the_words_of_the_api_become_a_sentence() -> None:
    assert sentence("try again shortly") == "Try again shortly."
    assert sentence("Really?") == "Really?"
    assert sentence("") == ""


def amount(typed: str) -> Decimal:
    return read_amount(typed, smallest=Decimal(1), largest=Decimal(10_000))


@pytest.mark.parametrize(
    ("typed", "read"),
    [("250", "250"), (" 12.5 ", "12.5"), ("1,250.5", "1250.5"), ("12.345678", "12.345678")],
)
def test_an_amount_is_read_as_it_was_typed(typed: str, read: str) -> None:
    assert amount(typed) == Decimal(read)


@pytest.mark.parametrize(
    ("typed", "advice"),
    [
        ("", "how many"),
        ("12,5", "decimal point"),
        ("1e3", "decimal point"),
        ("-5", "decimal point"),
        ("NaN", "decimal point"),
        ("٢٥", "decimal point"),
        ("9" * 5000, "decimal point"),
        ("1.1234567", "at most 6 decimals"),
        ("0.5", "between 1 and 10,000"),
        ("10001", "between 1 and 10,000"),
    ],
)
def test_an_amount_that_could_be_misread_is_refused_with_advice(typed: str, advice: str) -> None:
    with pytest.raises(AmountRefused, match=advice):
        amount(typed)
