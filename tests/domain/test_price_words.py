"""A price as people write it."""

import pytest

from domain.pricing.price import Price, per_message, per_token
from domain.pricing.words import price_words


@pytest.mark.parametrize(
    ("price", "words"),
    [
        (per_message(2_000_000), "2 credits a message"),
        (per_message(1_000_000), "1 credit a message"),
        (per_message(250_000), "0.25 credits a message"),
        (per_message(1_234_500_000), "1,234.5 credits a message"),
        (per_message(1), "0.000001 credits a message"),
        (per_message(0), "free"),
    ],
)
def test_a_price_per_message(price: Price, words: str) -> None:
    assert price_words(price) == words


@pytest.mark.parametrize(
    ("prompt_micro", "completion_micro", "words"),
    [
        (400_000, 1_200_000, "0.4 credits in, 1.2 out per 1,000 tokens"),
        (1_000_000, 100_000_000, "1 credit in, 100 out per 1,000 tokens"),
        (0, 4_000_000, "4 credits per 1,000 tokens out"),
        (1_000_000, 0, "1 credit per 1,000 tokens in"),
        (0, 0, "free"),
    ],
)
def test_a_price_per_token(prompt_micro: int, completion_micro: int, words: str) -> None:
    price = per_token(
        prompt_micro_per_1000=prompt_micro, completion_micro_per_1000=completion_micro
    )
    assert price_words(price) == words
