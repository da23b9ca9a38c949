"""How long an answer may be that an account can pay for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.accounts.affordable import affordable_tokens
from domain.credits import MICRO_PER_CREDIT
from domain.errors import InsufficientCredits
from domain.pricing.price import Price, per_message, per_token
from tests.domain.given import NOW, Account, grant, hold, in_days, micro, purchase

# Two credits for a thousand prompt tokens, four for a thousand of the answer.
BY_TOKEN = per_token(
    prompt_micro_per_1000=2 * MICRO_PER_CREDIT, completion_micro_per_1000=4 * MICRO_PER_CREDIT
)
BY_MESSAGE = per_message(2 * MICRO_PER_CREDIT)


def affordable(account: Account, price: Price, *, days: float = 0, wanted: int = 100) -> int:
    return affordable_tokens(account.opened, price, in_days(days), prompt_tokens=500, wanted=wanted)


def test_an_answer_is_as_long_as_was_wanted_where_the_account_pays_for_it() -> None:
    account = Account.with_events_of(purchase(10))
    assert affordable(account, BY_TOKEN) == 100
    assert affordable(account, BY_MESSAGE) == 100


def test_a_small_balance_makes_an_answer_shorter_where_tokens_are_paid_for() -> None:
    # One credit goes for the prompt, and the other tenth pays for 25 tokens.
    account = Account.with_events_of(purchase(1.1))
    assert affordable(account, BY_TOKEN) == 25


def test_a_price_per_message_is_paid_whole_or_not_at_all() -> None:
    assert affordable(Account.with_events_of(purchase(2)), BY_MESSAGE) == 100
    with pytest.raises(InsufficientCredits):
        affordable(Account.with_events_of(purchase(1.99)), BY_MESSAGE)


def test_who_cannot_pay_for_one_token_is_told_what_it_takes() -> None:
    account = Account.with_events_of(purchase(1))
    with pytest.raises(InsufficientCredits, match=r"costs 1\.004 .* 1 are available") as refusal:
        affordable(account, BY_TOKEN)
    assert refusal.value.required_micro == micro(1.004)
    assert refusal.value.available_micro == micro(1)


def test_what_is_held_or_has_expired_pays_for_nothing() -> None:
    held = Account.with_events_of(purchase(10), hold(9))
    with pytest.raises(InsufficientCredits):
        affordable(held, BY_MESSAGE)
    expired = Account.with_events_of(grant(10, expires_at=in_days(1)))
    assert affordable(expired, BY_MESSAGE, days=0.9) == 100
    with pytest.raises(InsufficientCredits):
        affordable(expired, BY_MESSAGE, days=1)


def test_a_free_model_answers_an_empty_account() -> None:
    assert affordable(Account.with_events_of(), per_message(0)) == 100


@given(
    available_micro=st.integers(1, 10_000),
    prompt_tokens=st.integers(0, 100),
    wanted=st.integers(1, 100),
    prompt_micro=st.integers(0, 100_000),
    completion_micro=st.integers(0, 100_000),
)
def test_what_is_said_to_be_affordable_can_be_held(
    available_micro: int, prompt_tokens: int, wanted: int, prompt_micro: int, completion_micro: int
) -> None:
    account = Account.with_events_of(purchase(available_micro / MICRO_PER_CREDIT))
    price = per_token(
        prompt_micro_per_1000=prompt_micro, completion_micro_per_1000=completion_micro
    )

    def cost(completion_tokens: int) -> int:
        return price.cost_micro(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)

    try:
        tokens = affordable_tokens(
            account.opened, price, NOW, prompt_tokens=prompt_tokens, wanted=wanted
        )
    except InsufficientCredits:
        assert cost(1) > available_micro
        return
    assert 1 <= tokens <= wanted
    account.when(hold(cost(tokens) / MICRO_PER_CREDIT))
    assert tokens == wanted or cost(tokens + 1) > available_micro
