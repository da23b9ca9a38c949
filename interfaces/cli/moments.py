"""Times as an operator writes them: `2026-03-01`, `2026-03-01T12:30`, `2026-03-01T12:30:00+01:00`;
without a zone they are UTC."""

import argparse
import re
from datetime import UTC, datetime, timedelta

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_POSITION = re.compile(r"\d{1,18}")
_ONE_DAY = timedelta(days=1)
# The smallest step of a time in an event.
_ONE_STEP = timedelta(microseconds=1)


def from_moment(text: str) -> datetime:
    """The beginning of a period. Raises argparse.ArgumentTypeError, as the others do."""
    return _parse(text)


def to_moment(text: str) -> datetime:
    """The end of a period, which is not in it; of a day, the end of that day."""
    return _parse(text) + (_ONE_DAY if _DAY.fullmatch(text) else timedelta())


def past_moment(text: str) -> datetime:
    """The first time that is after what was meant: what happened at the time itself counts, and
    with a day all of that day."""
    return _parse(text) + (_ONE_DAY if _DAY.fullmatch(text) else _ONE_STEP)


def position_or_moment(text: str) -> int | datetime:
    return int(text) if _POSITION.fullmatch(text) else past_moment(text)


def _parse(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
        time = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
        # A day more must still be a time.
        return time.astimezone(UTC) + _ONE_DAY - _ONE_DAY
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; write it like 2026-03-01 or 2026-03-01T12:30:00Z"
        ) from None
