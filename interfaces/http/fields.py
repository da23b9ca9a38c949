"""What the models of requests and answers are made of: their base, and the types of their
fields."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainValidator,
    WithJsonSchema,
)

from domain.credits import parse_credits
from domain.errors import InvalidAmount
from interfaces.moments import INSTANT_FORM, parse_instant


class WireModel(BaseModel):
    """Unknown fields are refused, so that a misspelt one is noticed instead of ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _credits_schema(example: float) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "type": "number",
            "description": "Credits: an exact decimal with at most six places.",
            "examples": [example],
        }
    )


# In an answer: a JSON number of at most six places, made by `domain.credits.credits_decimal`.
Credits = Annotated[Decimal, _credits_schema(98)]


def _amount_micro(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError("must be a number of credits")
    try:
        return parse_credits(value)
    except InvalidAmount as error:
        raise ValueError(str(error)) from None


# In a request: a JSON number or a string of credits, read exactly, and micro-credits from there
# on.
AmountMicro = Annotated[int, PlainValidator(_amount_micro), _credits_schema(12.5)]


def _no_control_characters(value: str) -> str:
    if any(character < " " or character == "\x7f" for character in value):
        raise ValueError("holds control characters; remove them")
    return value


# One line of text, such as a name or a search.
Line = Annotated[str, AfterValidator(_no_control_characters)]


def _instant(value: object) -> datetime:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value
    if not isinstance(value, str):
        raise ValueError(f"must be a text, an RFC 3339 date-time such as {INSTANT_FORM}")
    return parse_instant(value)


# In a request: an RFC 3339 date-time with its zone, in UTC from here on. A number is refused.
Instant = Annotated[
    datetime,
    PlainValidator(_instant),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


# Python takes true for 1; from a client it is a mistake.
Whole = Annotated[int, BeforeValidator(_no_bool)]
Real = Annotated[float, BeforeValidator(_no_bool)]
