"""A price as an operator writes it, and which setting is the price of which model."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from domain.credits import parse_credits
from domain.errors import InvalidAmount
from domain.pricing.price import Price, per_message, per_token


def parse_price(text: str) -> Price:
    """ "10" is 10 credits a message; "0.4/1.2" is 0.4 credits per 1,000 prompt tokens and 1.2 per
    1,000 completion tokens. Raises ValueError."""
    try:
        prompt, slash, completion = text.partition("/")
        if not slash:
            return per_message(_parse_part(prompt))
        return per_token(
            prompt_micro_per_1000=_parse_part(prompt),
            completion_micro_per_1000=_parse_part(completion),
        )
    except InvalidAmount as error:
        raise ValueError(
            f"{text!r} is no price: write credits a message, such as 10, or credits per 1,000"
            f" prompt and completion tokens, such as 0.4/1.2 ({error})"
        ) from None


def _parse_part(text: str) -> int:
    text = text.strip()
    return 0 if text == "0" else parse_credits(text)


def _readable_price(text: str) -> str:
    parse_price(text)
    return text


# As an operator writes it.
PriceText = Annotated[str, AfterValidator(_readable_price)]


@dataclass(frozen=True)
class PriceOf:
    """Marks a setting as the price of the model of that name."""

    model: str
