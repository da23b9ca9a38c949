"""How much a user may cause that nobody pays for."""

from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from application.chat.quotas import (
    HOUR_S,
    USERS_MAX,
    Limit,
    Quota,
    QuotaExhausted,
    QuotaLimits,
    Quotas,
)

ANA, BEN = (uuid5(UUID(int=0), name) for name in ("ana", "ben"))


class Seconds:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def _quota(clock: Seconds, *most: tuple[int, float]) -> Quota:
    limits = [Limit(most=count, window_s=window_s) for count, window_s in most]
    return Quota(limits, code="spent", what="too much", clock=clock)


def _takes(quota: Quota, user_id: UUID = ANA, tries: int = 100) -> int:
    for done in range(tries):
        try:
            quota.take(user_id)
        except QuotaExhausted:
            return done
    return tries


def test_a_whole_quota_can_be_used_at_once_and_refills_evenly() -> None:
    clock = Seconds()
    quota = _quota(clock, (10, 100.0))
    assert _takes(quota) == 10
    with pytest.raises(QuotaExhausted, match="too much; try again in 10 s") as caught:
        quota.take(ANA)
    assert (caught.value.code, caught.value.retry_after_s) == ("spent", 10)
    clock.now_s += caught.value.retry_after_s
    assert _takes(quota) == 1
    clock.now_s += 1000
    assert _takes(quota) == 10


def test_every_user_has_their_own() -> None:
    quota = _quota(Seconds(), (3, 100.0))
    assert _takes(quota, ANA) == 3
    assert _takes(quota, BEN) == 3


def test_of_two_limits_the_narrower_counts() -> None:
    clock = Seconds()
    quota = _quota(clock, (5, 100.0), (12, 10_000.0))
    assert _takes(quota) == 5
    clock.now_s += 100
    assert _takes(quota) == 5
    clock.now_s += 100
    assert _takes(quota) == 2, "the day is spent"


def test_what_is_given_back_can_be_taken_again() -> None:
    quota = _quota(Seconds(), (3, 100.0))
    assert _takes(quota) == 3
    quota.add(ANA, -2)
    assert _takes(quota) == 2


def test_one_thing_may_be_larger_than_what_is_left_and_then_takes_as_long_to_drain() -> None:
    clock = Seconds()
    quota = _quota(clock, (100, 100.0))
    quota.take(ANA, 250)
    with pytest.raises(QuotaExhausted) as caught:
        quota.take(ANA)
    assert caught.value.retry_after_s == 151


def test_a_user_whose_level_has_drained_is_forgotten() -> None:
    clock = Seconds()
    quota = _quota(clock, (3, 100.0))
    quota.take(ANA)
    clock.now_s += 1000
    quota.take(BEN)
    assert quota.users == 1
    quota.add(BEN, -1)
    assert quota.users == 0


def test_users_are_remembered_within_a_bound_and_the_quietest_is_forgotten() -> None:
    quota = _quota(Seconds(), (2, 100.0))
    assert _takes(quota, ANA) == _takes(quota, BEN) == 2
    for number in range(USERS_MAX - 1):
        quota.take(UUID(int=number))
    assert quota.users == USERS_MAX
    assert _takes(quota, BEN) == 0
    assert _takes(quota, ANA) == 2


@given(st.lists(st.tuples(st.floats(0, 50), st.integers(1, 30), st.booleans()), max_size=40))
def test_what_was_kept_is_never_more_than_the_bucket_and_what_has_drained(
    steps: list[tuple[float, int, bool]],
) -> None:
    """Giving back what was taken for a while never makes room for more."""
    clock, kept, began_s = Seconds(), 0, 1000.0
    quota = _quota(clock, (60, 100.0))
    for waited_s, amount, gives_back in steps:
        clock.now_s += waited_s
        try:
            quota.take(ANA, amount)
        except QuotaExhausted:
            continue
        if gives_back:
            quota.add(ANA, -amount)
        else:
            kept += amount
            assert kept <= 60 + 30 + (clock.now_s - began_s) * 60 / 100 + 1e-6


def _quotas(clock: Seconds) -> Quotas:
    limits = QuotaLimits(
        free_writes_per_hour=5, free_writes_per_day=100, unpaid_tokens_per_hour=1000
    )
    return Quotas(limits, clock=clock)


def test_who_has_used_up_what_is_free_can_still_pay() -> None:
    quotas = _quotas(Seconds())
    assert _takes(quotas.free_writes) == 5
    with pytest.raises(QuotaExhausted):
        quotas.admit(ANA, free=True, tokens=0)
    for _ in range(50):
        admission = quotas.admit(ANA, free=False, tokens=300)
        admission.ended(paid=True, shared=False, wasted_tokens=0)


def test_messages_that_end_unpaid_have_a_quota_and_those_under_way_count_as_if_they_did() -> None:
    quotas = _quotas(Seconds())
    under_way = [quotas.admit(ANA, free=False, tokens=0) for _ in range(5)]
    with pytest.raises(QuotaExhausted) as caught:
        quotas.admit(ANA, free=False, tokens=0)
    assert caught.value.code == "unpaid_messages_exhausted"
    under_way[0].ended(paid=True, shared=False, wasted_tokens=0)
    under_way[1].nothing_written()
    quotas.admit(ANA, free=False, tokens=0).ended(paid=False, shared=False, wasted_tokens=0)
    quotas.admit(ANA, free=False, tokens=0)
    with pytest.raises(QuotaExhausted):
        quotas.admit(ANA, free=False, tokens=0)
    assert _takes(quotas.free_writes) == 5, "which is another quota"


def test_work_that_is_given_up_counts_by_its_tokens_and_by_what_was_really_done() -> None:
    clock = Seconds()
    quotas = _quotas(clock)
    first, second = (quotas.admit(ANA, free=False, tokens=600) for _ in range(2))
    with pytest.raises(QuotaExhausted) as caught:
        quotas.admit(ANA, free=False, tokens=1)
    assert caught.value.code == "unpaid_work_exhausted"
    first.ended(paid=False, shared=False, wasted_tokens=0)
    second.ended(paid=False, shared=False, wasted_tokens=650)
    quotas.admit(ANA, free=False, tokens=400)
    with pytest.raises(QuotaExhausted):
        quotas.admit(ANA, free=False, tokens=1)
    clock.now_s += HOUR_S
    quotas.admit(ANA, free=False, tokens=1000)


def test_an_answer_that_turns_out_to_be_somebody_elses_and_free_counts_as_a_free_write() -> None:
    quotas = _quotas(Seconds())
    quotas.admit(ANA, free=False, tokens=9).ended(paid=False, shared=True, wasted_tokens=0)
    assert _takes(quotas.free_writes) == 4
