"""How times are written: RFC 3339 and nothing else, for clients and operators alike."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interfaces.moments import NotATime, parse_instant, parse_moment

NO_INSTANTS = [
    # Numbers, which other parsers read as seconds, milliseconds or days.
    *("20261128", "2026", "0", "-1", "1e3", "1767225600", "1767225600000", "1767225600.5"),
    # ISO 8601 that is no RFC 3339.
    *("2026-11-28", "20261128T100000Z", "2026-11-28T10:00Z", "2026-11-28T10Z", "2026-W48-6"),
    *("2026-W48-6T10:00:00Z", "2026-332", "2026-332T10:00:00Z", "2026-11", "2026-11-28T10:00:00"),
    *("2026-11-28T10:00:00,5Z", "2026-11-28T10:00:00+01", "2026-11-28T10:00:00+0100"),
    *("2026-11-28 10:00:00Z", "2026-11-28_10:00:00Z", "+2026-11-28T10:00:00Z", "P1D"),
    # What does not exist.
    *("2026-02-29T00:00:00Z", "2026-11-31T00:00:00Z", "2026-13-01T00:00:00Z"),
    *("2026-11-28T24:00:00Z", "2026-11-28T10:60:00Z", "2026-11-28T10:00:61Z"),
    *("2016-12-31T23:59:60Z", "2026-11-28T10:00:00+24:00", "2026-11-28T10:00:00+01:60"),
    # Beyond what can be told.
    *("0000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z", "10000-01-01T00:00:00Z"),
    *("0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"),
    # Almost.
    *("", " ", "now", "2026-11-28T10:00:00.Z", "2026-11-28T10:00:00Z ", " 2026-11-28T10:00:00Z"),
    *("2026-11-28T10:00:00Z\n", "2026-11-28T10:00:00ZZ", "2026-11-28T10:00:00\u2212 01:00"),
    *(
        "\u0662\u0660\u0662\u0666-11-28T10:00:00Z",
        "2026-11-28T10:00:0\uff10Z",
        "2026-11-28T10:00:00Z\0",
    ),
    "2026-11-28T10:00:00." + "0" * 100 + "Z",
]


@pytest.mark.parametrize("text", NO_INSTANTS)
def test_what_is_no_date_time_with_its_zone_is_no_instant(text: str) -> None:
    with pytest.raises(NotATime) as refusal:
        parse_instant(text)
    assert str(refusal.value)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-28T10:00:00Z", "2026-11-28T10:00:00"),
        ("2026-11-28t10:00:00z", "2026-11-28T10:00:00"),
        ("2026-11-28T10:00:00.5Z", "2026-11-28T10:00:00.500000"),
        ("2026-11-28T10:00:00.123456Z", "2026-11-28T10:00:00.123456"),
        ("2026-11-28T10:00:00.123456999Z", "2026-11-28T10:00:00.123456"),
        ("2026-11-28T10:00:00.000000000Z", "2026-11-28T10:00:00"),
        ("2026-11-28T10:00:00+01:00", "2026-11-28T09:00:00"),
        ("2026-11-28T23:30:00-01:00", "2026-11-29T00:30:00"),
        ("2026-11-28T10:00:00-00:00", "2026-11-28T10:00:00"),
        ("2024-02-29T23:59:59.999999+23:59", "2024-02-29T00:00:59.999999"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999"),
        ("1969-07-20T20:17:40Z", "1969-07-20T20:17:40"),
    ],
)
def test_a_date_time_with_its_zone_is_an_instant_in_utc(text: str, time: str) -> None:
    found = parse_instant(text)
    assert found == datetime.fromisoformat(time).replace(tzinfo=UTC)
    assert found.utcoffset() == timedelta()


_offsets = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


_EARLIEST, _LATEST = (datetime.fromisoformat(text) for text in ("0002-01-01", "9998-12-31"))


@given(st.datetimes(_EARLIEST, _LATEST, timezones=_offsets))
def test_every_time_is_read_as_it_is_written(time: datetime) -> None:
    assert parse_instant(time.isoformat()) == time


@given(st.text(st.sampled_from("0123456789-:TZ+. W/\u0660"), max_size=26) | st.text(max_size=12))
def test_no_text_is_read_as_anything_that_it_does_not_say(text: str) -> None:
    try:
        found = parse_instant(text)
    except NotATime:
        return
    assert found.replace(microsecond=0) == datetime.fromisoformat(text.upper()).replace(
        microsecond=0
    )
    assert len(text) >= len("2026-11-28T10:00:00Z")


def test_a_plus_that_a_query_took_for_a_space_is_told_how_to_write_it() -> None:
    with pytest.raises(NotATime, match="%2B"):
        parse_instant("2026-11-28T10:00:00 01:00")


def test_a_day_is_all_of_it_in_utc() -> None:
    moment = parse_moment("2026-11-28")
    assert (moment.begin, moment.after, moment.is_day) == (
        datetime(2026, 11, 28, tzinfo=UTC),
        datetime(2026, 11, 29, tzinfo=UTC),
        True,
    )


def test_an_instant_ends_with_its_microsecond() -> None:
    moment = parse_moment("2026-11-28T10:00:00+01:00")
    assert moment.begin == datetime(2026, 11, 28, 9, tzinfo=UTC)
    assert moment.after - moment.begin == timedelta(microseconds=1)
    assert not moment.is_day


@pytest.mark.parametrize(
    "text",
    [
        *(text for text in NO_INSTANTS if text != "2026-11-28"),
        *("2026-02-30", "0000-01-01", "9999-12-31", "2026-1-1", "26-11-28", "2026/11/28"),
        *("28.11.2026", "2026-11-28Z", "2026-11-28+01:00", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_what_is_neither_a_day_nor_an_instant_is_no_moment(text: str) -> None:
    with pytest.raises(NotATime) as refusal:
        parse_moment(text)
    assert str(refusal.value)
