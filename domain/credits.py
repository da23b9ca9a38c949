"""Credits are integers of micro-credits: 1 credit = 1,000,000 micro-credits.

No float is ever in between. A price is rounded up to the micro-credit, once per message
(`domain.pricing.price`); everything here is exact.
"""

from decimal import Decimal, InvalidOperation

from domain.errors import InvalidAmount

MICRO_PER_CREDIT = 1_000_000
DECIMAL_PLACES_MAX = 6
# A billion credits: far above any balance, and far below what a 64-bit column holds.
AMOUNT_MICRO_MAX = 1_000_000_000 * MICRO_PER_CREDIT


def parse_credits(text: str | int | Decimal) -> int:
    """Micro-credits of a positive amount written as credits, for instance "12.5".

    Raises InvalidAmount for anything that is no finite number, is not above zero, has more
    than six decimal places, or exceeds AMOUNT_MICRO_MAX.
    """
    try:
        amount = Decimal(text)
    except (InvalidOperation, ValueError):
        raise InvalidAmount(f"{str(text)[:40]!r} is not a number of credits") from None
    if not amount.is_finite():
        raise InvalidAmount("an amount of credits must be a finite number")
    if amount <= 0:
        raise InvalidAmount("an amount of credits must be greater than zero")
    # Compared before scaling, so that 1e999999999 costs nothing.
    if amount.adjusted() > 18 or amount > AMOUNT_MICRO_MAX // MICRO_PER_CREDIT:
        most = AMOUNT_MICRO_MAX // MICRO_PER_CREDIT
        raise InvalidAmount(f"an amount of credits may be at most {most:,}")
    if amount.adjusted() < -DECIMAL_PLACES_MAX:
        raise InvalidAmount("an amount of credits may have at most six decimal places")
    micro = amount.scaleb(DECIMAL_PLACES_MAX)
    if micro != micro.to_integral_value():
        raise InvalidAmount("an amount of credits may have at most six decimal places")
    return int(micro)


def credits_decimal(amount_micro: int) -> Decimal:
    """The exact number of credits, without trailing zeros and never in exponent notation."""
    whole, micro = divmod(abs(amount_micro), MICRO_PER_CREDIT)
    digits = f"{whole}.{micro:06d}".rstrip("0").rstrip(".")
    return Decimal(f"-{digits}" if amount_micro < 0 else digits)


def format_credits(amount_micro: int) -> str:
    return str(credits_decimal(amount_micro))
