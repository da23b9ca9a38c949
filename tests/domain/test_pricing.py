"""What a message costs, and how long an answer a balance affords."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.pricing.price import Price, PriceKind, per_message, per_token

rates = st.integers(min_value=0, max_value=10_000_000)
tokens = st.integers(min_value=0, max_value=200_000)
balances = st.integers(min_value=0, max_value=10**15)


def test_a_message_has_one_price_whatever_its_length() -> None:
    price = per_message(10_000_000)
    assert price.cost_micro(prompt_tokens=1, completion_tokens=1) == 10_000_000
    assert price.cost_micro(prompt_tokens=9_999, completion_tokens=0) == 10_000_000


@pytest.mark.parametrize(
    ("available_micro", "tokens_affordable"),
    [(9_999_999, 0), (10_000_000, None), (10_000_001, None)],
)
def test_a_price_per_message_is_affordable_or_not(
    available_micro: int, tokens_affordable: int | None
) -> None:
    price = per_message(10_000_000)
    assert (
        price.completion_tokens_affordable(available_micro=available_micro, prompt_tokens=5)
        == tokens_affordable
    )


@pytest.mark.parametrize(
    ("prompt_tokens", "completion_tokens", "cost_micro"),
    [
        (0, 0, 0),
        (1000, 0, 3),
        (0, 1000, 7),
        (1, 0, 1),  # 0.003 micro-credits
        (0, 1, 1),  # 0.007 micro-credits
        (1, 1, 1),  # 0.010: rounded once, not each part
        (500, 500, 5),
        (1000, 1001, 11),  # 10.007
    ],
)
def test_a_price_per_token_is_rounded_up_once_per_message(
    prompt_tokens: int, completion_tokens: int, cost_micro: int
) -> None:
    price = per_token(prompt_micro_per_1000=3, completion_micro_per_1000=7)
    assert (
        price.cost_micro(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
        == cost_micro
    )


@given(rates, rates, tokens, tokens)
def test_a_rounded_price_is_less_than_one_micro_credit_above_the_exact_one(
    prompt_rate: int, completion_rate: int, prompt_tokens: int, completion_tokens: int
) -> None:
    price = per_token(prompt_micro_per_1000=prompt_rate, completion_micro_per_1000=completion_rate)
    exact = Fraction(prompt_tokens * prompt_rate + completion_tokens * completion_rate, 1000)
    cost = price.cost_micro(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
    assert exact <= cost < exact + 1


@given(rates, rates, balances, tokens)
def test_the_affordable_number_of_tokens_is_affordable_and_one_more_is_not(
    prompt_rate: int, completion_rate: int, available_micro: int, prompt_tokens: int
) -> None:
    price = per_token(prompt_micro_per_1000=prompt_rate, completion_micro_per_1000=completion_rate)
    affordable = price.completion_tokens_affordable(
        available_micro=available_micro, prompt_tokens=prompt_tokens
    )

    def cost(completion_tokens: int) -> int:
        return price.cost_micro(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)

    if affordable is None:
        assert completion_rate == 0
        assert cost(10**9) <= available_micro
    elif cost(0) > available_micro:
        assert affordable == 0
    else:
        assert cost(affordable) <= available_micro < cost(affordable + 1)


@given(rates, rates, st.integers(min_value=1, max_value=500), tokens)
def test_a_user_who_holds_the_most_an_answer_can_cost_affords_all_of_it(
    prompt_rate: int, completion_rate: int, completion_tokens: int, prompt_tokens: int
) -> None:
    price = per_token(prompt_micro_per_1000=prompt_rate, completion_micro_per_1000=completion_rate)
    held = price.cost_micro(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)
    affordable = price.completion_tokens_affordable(
        available_micro=held, prompt_tokens=prompt_tokens
    )
    assert affordable is None or affordable >= completion_tokens


@given(rates, rates, tokens, tokens, tokens)
def test_a_longer_answer_never_costs_less(
    prompt_rate: int, completion_rate: int, prompt_tokens: int, shorter: int, more: int
) -> None:
    price = per_token(prompt_micro_per_1000=prompt_rate, completion_micro_per_1000=completion_rate)
    assert price.cost_micro(
        prompt_tokens=prompt_tokens, completion_tokens=shorter
    ) <= price.cost_micro(prompt_tokens=prompt_tokens, completion_tokens=shorter + more)


def test_a_free_model_is_affordable_without_credits() -> None:
    for price in (per_message(0), per_token(prompt_micro_per_1000=0, completion_micro_per_1000=0)):
        assert price.cost_micro(prompt_tokens=10, completion_tokens=10) == 0
        assert price.completion_tokens_affordable(available_micro=0, prompt_tokens=10) is None


def test_a_price_is_never_negative() -> None:
    with pytest.raises(AssertionError, match="never negative"):
        per_message(-1)
    with pytest.raises(AssertionError, match="never negative"):
        per_token(prompt_micro_per_1000=1, completion_micro_per_1000=-1)


def test_a_price_names_its_entry_for_the_receipt() -> None:
    assert per_message(5).version == "message:5"
    assert per_token(prompt_micro_per_1000=1, completion_micro_per_1000=2) == Price(
        kind=PriceKind.PER_TOKEN,
        version="token:1:2",
        prompt_micro_per_1000=1,
        completion_micro_per_1000=2,
    )
