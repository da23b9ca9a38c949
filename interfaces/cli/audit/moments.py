"""Which part of the log is meant: days, instants and positions as options of the command line."""

import argparse
import re
from datetime import datetime

from application.books.periods import CLOCK_SKEW_MAX
from application.books.posted import Period
from interfaces.cli.options import OptionsRefused
from interfaces.moments import Moment, NotATime, parse_moment

_POSITION = re.compile(r"0*[1-9][0-9]{0,17}")


def moment_option(text: str) -> Moment:
    """Raises argparse.ArgumentTypeError, as the others do."""
    try:
        return parse_moment(text)
    except NotATime as error:
        shown = text if len(text) <= 40 else f"{text[:40]}…"
        raise argparse.ArgumentTypeError(f"{shown!r} is no time: {error}") from None


def at_option(text: str) -> Moment:
    """Of a command that takes a position, too."""
    try:
        return moment_option(text)
    except argparse.ArgumentTypeError as error:
        if text.isascii() and text.isdigit():
            raise argparse.ArgumentTypeError(
                f"{error}; a position of the log is given by --at-position"
            ) from None
        raise


def position_option(text: str) -> int:
    if not _POSITION.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is no position of the log; write a whole number from 1 on"
        )
    return int(text)


def add_at(action: argparse.ArgumentParser) -> None:
    one = action.add_mutually_exclusive_group()
    one.add_argument(
        "--at",
        type=at_option,
        metavar="TIME",
        help="as it was then (default: now); what happened at that time counts, and with a day"
        " all of that day",
    )
    one.add_argument(
        "--at-position",
        type=position_option,
        metavar="POSITION",
        help="as it was after that event of the log",
    )


def add_period(action: argparse.ArgumentParser) -> None:
    action.add_argument("--from", dest="since", type=moment_option, metavar="TIME", help="included")
    action.add_argument(
        "--to",
        dest="until",
        type=moment_option,
        metavar="TIME",
        help="not included; a day is, whole",
    )


def before_option(options: argparse.Namespace, now: datetime) -> datetime | None:
    """The first time that --at does not count. Raises OptionsRefused."""
    at: Moment | None = options.at
    if at is None:
        return None
    _check_passed("--at", at, now)
    return at.after


def at_text(at: Moment) -> str:
    """What --at counts, which includes what happened at that instant."""
    return f"{_text(at)}, all of it in UTC" if at.is_day else f"at {_text(at)}"


def position_max(options: argparse.Namespace, head: int) -> int:
    """The last position that counts. Raises OptionsRefused."""
    position: int | None = options.at_position
    if position is None:
        return head
    if position > head:
        raise OptionsRefused(
            f"--at-position {position}: the log ends at position {head}; choose one up to that"
        )
    return position


def period_option(options: argparse.Namespace, now: datetime) -> Period:
    """Raises OptionsRefused."""
    since: Moment | None = options.since
    until: Moment | None = options.until
    if since is not None and since.begin > now + CLOCK_SKEW_MAX:
        raise OptionsRefused(f"--from {_text(since)} has not come yet; choose a time in the past")
    if until is not None:
        _check_passed("--to", until, now)
    end = None if until is None else until.after if until.is_day else until.begin
    if since is not None and until is not None and end is not None:
        is_before = end <= since.begin if until.is_day else end < since.begin
        if is_before:
            raise OptionsRefused(
                f"the period ends (--to {_text(until)}) before it begins (--from {_text(since)});"
                " exchange the two"
            )
    return Period(since=None if since is None else since.begin, until=end)


def _check_passed(option: str, moment: Moment, now: datetime) -> None:
    last = moment.after if moment.is_day else moment.begin
    if last <= now + CLOCK_SKEW_MAX:
        return
    why = "is not over yet in UTC" if moment.begin <= now else "has not come yet"
    raise OptionsRefused(
        f"{option} {_text(moment)} {why}; leave {option} out for everything so far"
    )


def _text(moment: Moment) -> str:
    return (moment.begin.date() if moment.is_day else moment.begin).isoformat()
