"""Times as they are written, by clients and operators alike: an instant is an RFC 3339 date-time
with its zone, a day is a full-date and means all of it in UTC. Everything else is refused."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

INSTANT_FORM = "2026-03-01T12:30:00Z or 2026-03-01T13:30:00+01:00"
DAY_FORM = "2026-03-01"

# More than any date-time needs; a fraction may have any number of digits.
_CHARACTERS_MAX = 64
_DAY = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
# RFC 3339, section 5.6. Its T and Z may be written small.
_INSTANT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_ONE_DAY = timedelta(days=1)
# The smallest step of a time in an event.
_ONE_STEP = timedelta(microseconds=1)
_BEYOND = "this is beyond the years 1 to 9999 in UTC"


class NotATime(ValueError):
    """The text says what to write."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What was written. begin: the instant, or the beginning of the day. after: the first time
    that is no longer in it: the end of the day, or of the instant's microsecond."""

    begin: datetime
    after: datetime
    is_day: bool


def parse_instant(text: str) -> datetime:
    """In UTC. The ledger's times are whole microseconds, so further digits are cut off.

    Raises NotATime.
    """
    found = _INSTANT.fullmatch(text) if len(text) <= _CHARACTERS_MAX else None
    if found is None:
        raise NotATime(_what_is_wrong(text))
    *numbers, fraction, sign, hours, minutes = found.groups()
    year, month, day, hour, minute, second = map(int, numbers)
    if second == 60:
        raise NotATime("the ledger's clock has no leap seconds; write second 59, or 00 after it")
    microsecond = int((fraction or "0")[:6].ljust(6, "0"))
    try:
        local = datetime(year, month, day, hour, minute, second, microsecond, tzinfo=UTC)
        if sign is None:
            return local
        if int(hours) > 23 or int(minutes) > 59:
            raise NotATime("there is no such zone; write Z, or up to +23:59 or -23:59")
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        zone = timezone(offset if sign == "+" else -offset)
        return local.replace(tzinfo=zone).astimezone(UTC)
    except OverflowError:
        raise NotATime(_BEYOND) from None
    except NotATime:
        raise
    except ValueError as error:
        raise NotATime(f"there is no such time ({error})") from None


def parse_moment(text: str) -> Moment:
    """An instant or a day. Raises NotATime."""
    found = _DAY.fullmatch(text)
    if found is None and not _INSTANT.fullmatch(text):
        raise NotATime(
            f"write a day such as {DAY_FORM}, which is all of it in UTC, or an RFC 3339 date-time"
            f" with its zone, such as {INSTANT_FORM}"
        )
    try:
        if found is None:
            instant = parse_instant(text)
            return Moment(begin=instant, after=instant + _ONE_STEP, is_day=False)
        year, month, day = map(int, found.groups())
        begin = datetime(year, month, day, tzinfo=UTC)
        return Moment(begin=begin, after=begin + _ONE_DAY, is_day=True)
    except NotATime:
        raise
    except OverflowError:
        raise NotATime(_BEYOND) from None
    except ValueError as error:
        raise NotATime(f"there is no such day ({error})") from None


def _what_is_wrong(text: str) -> str:
    form = f"write an RFC 3339 date-time with its zone, such as {INSTANT_FORM}"
    if _INSTANT.fullmatch(text.replace(" ", "+")):
        # A query reads a plus sign as a space.
        return f"{form}; in a query, the + of a zone is written %2B"
    return form
