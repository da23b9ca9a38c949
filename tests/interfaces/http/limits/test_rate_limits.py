"""How often one caller may call in a minute."""

import pytest

from interfaces.http.limits.rate_limits import WINDOW_S, RateLimit
from interfaces.http.problems import RateLimited


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limit(clock: Clock) -> RateLimit:
    return RateLimit(3, what="requests", clock=clock)


def test_headers_count_down_to_the_limit(limit: RateLimit) -> None:
    left = [limit.check("ann")["X-RateLimit-Remaining"] for _ in range(3)]
    assert left == ["2", "1", "0"]


def test_a_call_past_the_limit_is_refused_with_the_time_to_wait(
    limit: RateLimit, clock: Clock
) -> None:
    limit.check("ann")
    clock.now_s += 20.5
    limit.check("ann")
    limit.check("ann")
    with pytest.raises(RateLimited, match="too many requests; try again in 40 s") as refusal:
        limit.check("ann")
    assert refusal.value.headers == {
        "X-RateLimit-Limit": "3",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "40",
        "Retry-After": "40",
    }


def test_a_call_is_free_again_when_the_first_one_is_a_minute_old(
    limit: RateLimit, clock: Clock
) -> None:
    for _ in range(3):
        limit.check("ann")
        clock.now_s += 1
    clock.now_s += WINDOW_S - 3
    assert limit.check("ann")["X-RateLimit-Remaining"] == "0"
    with pytest.raises(RateLimited):
        limit.check("ann")


def test_refused_calls_do_not_count(limit: RateLimit, clock: Clock) -> None:
    for _ in range(3):
        limit.check("ann")
    for _ in range(10):
        clock.now_s += 1
        with pytest.raises(RateLimited):
            limit.check("ann")
    clock.now_s += WINDOW_S - 10
    assert limit.check("ann")["X-RateLimit-Remaining"] == "2"


def test_callers_do_not_share_a_limit(limit: RateLimit) -> None:
    for _ in range(3):
        limit.check("127.0.0.1", "ann")
    assert limit.check("127.0.0.1", "bob")["X-RateLimit-Remaining"] == "2"


def test_callers_who_have_been_silent_for_a_minute_are_forgotten(
    limit: RateLimit, clock: Clock
) -> None:
    for number in range(100):
        limit.check(str(number))
    clock.now_s += 30
    limit.check("7")
    clock.now_s += 30
    limit.check("ann")
    assert limit.callers == 2
