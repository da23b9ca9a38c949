"""Credits are integers of micro-credits: 1 credit = 1,000,000 micro-credits.

No float is ever in between. A price is rounded up to the micro-credit, once per message
(`domain.pricing.price`); everything here is exact.
"""

import re
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import NoReturn

from domain.errors import InvalidAmount

MICRO_PER_CREDIT = 1_000_000
DECIMAL_PLACES_MAX = 6
# A billion credits, for one amount and for what one account holds: far above any need, and far
# below what a 64-bit column holds.
AMOUNT_MICRO_MAX = 1_000_000_000 * MICRO_PER_CREDIT
BALANCE_MICRO_MAX = AMOUNT_MICRO_MAX

_AMOUNT_CHARACTERS_MAX = 64
# Narrower than what Decimal reads: no underscores, no digits but ASCII's, no "NaN".
_AMOUNT_PATTERN = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_ONE_MICRO = Decimal(1).scaleb(-DECIMAL_PLACES_MAX)
# The default context would round an endless fraction in silence; here that is an error. The
# largest amount has 16 digits.
_EXACT = Context(prec=25, traps=[Inexact, InvalidOperation])


def parse_credits(text: str | int | Decimal) -> int:
    """Micro-credits of a positive amount written as credits, for instance "12.5".

    Raises InvalidAmount for anything that is no finite number, is not above zero, has more
    than six decimal places (zeros at the end aside), or exceeds AMOUNT_MICRO_MAX.
    """
    amount = _read_decimal(text)
    if not amount.is_finite():
        raise InvalidAmount("an amount of credits must be a finite number")
    if amount <= 0:
        raise InvalidAmount("an amount of credits must be greater than zero")
    # Compared before scaling, so that 1e999999999 costs nothing.
    if amount.adjusted() > 18 or amount > AMOUNT_MICRO_MAX // MICRO_PER_CREDIT:
        most = AMOUNT_MICRO_MAX // MICRO_PER_CREDIT
        raise InvalidAmount(f"an amount of credits may be at most {most:,}")
    try:
        exact = amount.quantize(_ONE_MICRO, context=_EXACT)
    except Inexact:
        raise InvalidAmount("an amount of credits may have at most six decimal places") from None
    return int(exact.scaleb(DECIMAL_PLACES_MAX))


def _read_decimal(value: str | int | Decimal) -> Decimal:
    # A bool is an int to Python, and a float would already have been rounded by whoever sent it.
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        _refuse_as_no_number(repr(value))
    if not isinstance(value, str):
        return Decimal(value)
    if len(value) > _AMOUNT_CHARACTERS_MAX:
        _refuse_as_no_number(f"{value[:20]!r}…")
    if not _AMOUNT_PATTERN.fullmatch(value.strip()):
        _refuse_as_no_number(repr(value))
    try:
        return Decimal(value.strip())
    except InvalidOperation:  # an exponent beyond what Decimal can hold
        _refuse_as_no_number(repr(value))


def _refuse_as_no_number(shown: str) -> NoReturn:
    raise InvalidAmount(f"{shown} is not a number of credits; write it like 12.5") from None


def credits_decimal(amount_micro: int) -> Decimal:
    """The exact number of credits, without trailing zeros and never in exponent notation."""
    whole, micro = divmod(abs(amount_micro), MICRO_PER_CREDIT)
    digits = f"{whole}.{micro:06d}".rstrip("0").rstrip(".")
    return Decimal(f"-{digits}" if amount_micro < 0 else digits)


def format_credits(amount_micro: int) -> str:
    return str(credits_decimal(amount_micro))
