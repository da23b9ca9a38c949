"""A clock that hardly moves until a test moves it."""

from datetime import UTC, datetime, timedelta


class SteppedClock:
    def __init__(self, start: datetime = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        """A microsecond later each time, as a real clock gives no two events the same time."""
        self._now += timedelta(microseconds=1)
        return self._now

    def advance(self, **step: float) -> None:
        """step: as for timedelta, for instance minutes=5."""
        self._now += timedelta(**step)
