"""Which times can be asked about: those that have passed, in periods that begin before they end."""

from datetime import datetime, timedelta

from domain.errors import InvalidInput

# How far a client's clock may be ahead of ours before its now is taken for the future.
CLOCK_SKEW_MAX = timedelta(seconds=5)


class TimeInFuture(InvalidInput):
    code = "time_in_future"
    field = "at"


class InvalidPeriod(InvalidInput):
    code = "invalid_period"
    field = "until"


def passed(at: datetime, now: datetime) -> datetime:
    """The time itself, or now where it is ahead of now by no more than clocks differ. What was true
    at a time that has passed stays true; for any other, TimeInFuture is raised."""
    if at > now + CLOCK_SKEW_MAX:
        raise TimeInFuture(
            f"{_text(at)} has not come yet, it is {_text(now)}; ask for a time that has passed"
        )
    return min(at, now)


def check_period(since: datetime | None, until: datetime | None) -> None:
    """Raises InvalidPeriod. A period may end where it begins; then it is empty."""
    if since is not None and until is not None and until < since:
        raise InvalidPeriod(
            f"the period ends at {_text(until)}, before it begins at {_text(since)};"
            " exchange since and until"
        )


def _text(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S}Z"
