"""JSON whose numbers stay exact: no float is ever between a Decimal and its digits. The API, the
chat page and the command line all write and read by it."""

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

_encoder = msgspec.json.Encoder(decimal_format="number")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
# More than any double needs. Beyond it a few bytes, such as 1e999999999, would be a number that
# takes minutes to turn into an integer.
_NUMBER_CHARACTERS_MAX = 400
_NUMBER_EXPONENT_MAX = 400
_SHOWN_CHARACTERS_MAX = 20
_REASON_CHARACTERS_MAX = 120


class NotJson(ValueError):
    """What is wrong with a text, in words that follow its name: "is not UTF-8"."""


def write_json(value: object) -> bytes:
    """A Decimal becomes a number of its own digits, a struct or dataclass an object, and a UUID,
    a date-time or an enumeration a string."""
    return _encoder.encode(value)


def read_json(text: bytes | str) -> Any:
    """A number with a fraction or an exponent becomes a Decimal.

    Raises NotJson, also for a number too large to be computed with and for a lone surrogate.
    """
    try:
        decoded = text if isinstance(text, str) else text.decode("utf-8")
        value = json.loads(decoded, parse_float=_read_number, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise NotJson("is not UTF-8") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise NotJson(f"is not valid JSON: {error.msg} at {place}") from None
    except RecursionError:
        raise NotJson("is nested too deeply") from None
    except ValueError as error:
        raise NotJson(f"is not valid JSON: {str(error)[:_REASON_CHARACTERS_MAX]}") from None
    check_characters(value)
    return value


def check_characters(value: object) -> None:
    """Raises NotJson for a lone surrogate in any string of parsed JSON, names of fields included:
    JSON can write one (RFC 8259, section 8.2), but no text in UTF-8 can hold it."""
    waiting: list[object] = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if _SURROGATE.search(item):
                raise NotJson("holds a lone surrogate, which is no character; send valid Unicode")
        elif isinstance(item, dict):
            waiting.extend(item.keys())
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def _read_number(text: str) -> Decimal:
    try:
        number = Decimal(text) if len(text) <= _NUMBER_CHARACTERS_MAX else None
    except InvalidOperation:  # an exponent beyond what Decimal can hold
        number = None
    if number is None or abs(number.adjusted()) > _NUMBER_EXPONENT_MAX:
        is_short = len(text) <= _SHOWN_CHARACTERS_MAX
        shown = text if is_short else f"{text[:_SHOWN_CHARACTERS_MAX]}…"
        raise ValueError(f"the number {shown} has too many digits or too large an exponent")
    return number


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
