"""A price as people write it."""

from decimal import Decimal

from domain.credits import credits_decimal
from domain.pricing.price import Price, PriceKind

FREE = "free"


def price_words(price: Price) -> str:
    """``2 credits a message``, ``0.4 credits in, 1.2 out per 1,000 tokens``, ``free``."""
    if price.kind is PriceKind.PER_MESSAGE:
        return message_price_words(credits_decimal(price.message_micro))
    return token_price_words(
        prompt_per_1000=credits_decimal(price.prompt_micro_per_1000),
        completion_per_1000=credits_decimal(price.completion_micro_per_1000),
    )


def message_price_words(credits_: Decimal) -> str:
    return f"{_credits(credits_)} a message" if credits_ else FREE


def token_price_words(*, prompt_per_1000: Decimal, completion_per_1000: Decimal) -> str:
    """Credits for 1,000 tokens that the model reads, and for 1,000 that it writes."""
    if not completion_per_1000:
        return f"{_credits(prompt_per_1000)} per 1,000 tokens in" if prompt_per_1000 else FREE
    if not prompt_per_1000:
        return f"{_credits(completion_per_1000)} per 1,000 tokens out"
    return f"{_credits(prompt_per_1000)} in, {_number(completion_per_1000)} out per 1,000 tokens"


def _credits(amount: Decimal) -> str:
    return f"{_number(amount)} {'credit' if amount == 1 else 'credits'}"


def _number(amount: Decimal) -> str:
    """``1,234.5`` of ``1234.500000``."""
    text = f"{amount:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
