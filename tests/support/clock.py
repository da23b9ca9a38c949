"""A clock that stands all but still until a test moves it."""

from datetime import UTC, datetime, timedelta


class SteppedClock:
    def __init__(self, start: datetime = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        """A microsecond later each time, because no two events of a real clock are equal."""
        self._now += timedelta(microseconds=1)
        return self._now

    def advance(self, **step: float) -> None:
        """step: as for timedelta, for instance minutes=5."""
        self._now += timedelta(**step)
