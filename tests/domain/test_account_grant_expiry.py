"""What happens to promotional credits when their time has passed."""

from dataclasses import replace

import pytest

from domain.accounts import commands as c
from domain.accounts import events as e
from domain.accounts.decider import decide
from domain.errors import InsufficientCredits
from tests.domain.given import (
    ACCOUNT,
    FREEZE,
    USER,
    Account,
    an_id,
    capture,
    grant,
    hold,
    in_days,
    micro,
    purchase,
    refund_of,
    release,
)

EXPIRE = c.ExpireGrants()


def test_the_sweeper_takes_back_what_is_left_of_a_grant() -> None:
    account = Account.with_events_of(purchase(1), grant(5, expires_at=in_days(1)))
    events = account.when(EXPIRE, at=in_days(1))
    assert events == (
        e.GrantExpired(
            originator_id=ACCOUNT,
            originator_version=4,
            timestamp=in_days(1),
            user_id=USER,
            balance=e.Balance(paid_micro=micro(1), promotional_micro=0, held_micro=0),
            grant_id=an_id("grant"),
            amount_micro=micro(5),
        ),
    )
    assert account.when(EXPIRE, at=in_days(2)) == ()


def test_a_grant_is_good_until_its_time() -> None:
    account = Account.with_events_of(grant(5, expires_at=in_days(1)))
    assert account.when(EXPIRE, at=in_days(0.999)) == ()
    account.when(hold(5), at=in_days(0.999))
    assert account.balance.held_micro == micro(5)


def test_a_grant_without_expiry_stays() -> None:
    account = Account.with_events_of(grant(5))
    assert account.when(EXPIRE, at=in_days(10_000)) == ()


def test_a_grant_whose_time_has_passed_cannot_be_spent_even_before_the_sweeper_comes() -> None:
    account = Account.with_events_of(purchase(1), grant(5, expires_at=in_days(1)))
    assert account.opened.available_micro(in_days(1)) == micro(1)
    with pytest.raises(InsufficientCredits) as refusal:
        account.when(hold(2), at=in_days(1))
    assert refusal.value.available_micro == micro(1)


def test_any_command_records_first_that_grants_have_expired() -> None:
    account = Account.with_events_of(purchase(1), grant(5, expires_at=in_days(1)))
    expired, held = account.when(hold(1), at=in_days(1))
    assert isinstance(expired, e.GrantExpired)
    assert isinstance(held, e.CreditsHeld)
    assert held.balance == e.Balance(paid_micro=0, promotional_micro=0, held_micro=micro(1))


def test_a_command_that_changes_nothing_else_still_records_the_expiry() -> None:
    account = Account.with_events_of(grant(5, expires_at=in_days(1)), FREEZE)
    (expired,) = account.when(FREEZE, at=in_days(1))
    assert isinstance(expired, e.GrantExpired)


def test_each_expired_grant_is_its_own_event() -> None:
    account = Account.with_events_of(
        grant(5, "a", expires_at=in_days(1)),
        grant(3, "b", expires_at=in_days(2)),
        grant(1, "c", expires_at=in_days(3)),
    )
    events = account.when(EXPIRE, at=in_days(2))
    assert [(x.grant_id, x.amount_micro) for x in events if isinstance(x, e.GrantExpired)] == [
        (an_id("a"), micro(5)),
        (an_id("b"), micro(3)),
    ]
    assert account.balance.promotional_micro == micro(1)


def test_the_held_part_of_a_grant_outlives_it() -> None:
    account = Account.with_events_of(grant(5, expires_at=in_days(1)), hold(2))
    (expired,) = account.when(EXPIRE, at=in_days(1))
    assert isinstance(expired, e.GrantExpired)
    assert expired.amount_micro == micro(3)
    account.when(capture(2), at=in_days(2))
    assert account.balance.total_micro == 0


def test_a_grant_that_is_held_whole_has_nothing_to_expire() -> None:
    account = Account.with_events_of(grant(5, expires_at=in_days(1)), hold(5))
    assert account.when(EXPIRE, at=in_days(1)) == ()
    assert account.balance.held_micro == micro(5)


@pytest.mark.parametrize("ending", [release(), capture(0)])
def test_what_comes_back_to_an_expired_grant_expires_in_the_same_commit(
    ending: c.AccountCommand,
) -> None:
    account = Account.with_events_of(grant(5, expires_at=in_days(1)), hold(2))
    account.when(EXPIRE, at=in_days(1))
    settled, expired = account.when(ending, at=in_days(2))
    assert isinstance(settled, e.HoldReleased | e.CreditsDebited)
    assert isinstance(expired, e.GrantExpired)
    assert (expired.grant_id, expired.amount_micro) == (an_id("grant"), micro(2))
    assert account.balance == e.Balance(paid_micro=0, promotional_micro=0, held_micro=0)


def test_a_partial_capture_after_the_expiry_spends_the_grant_and_lets_its_rest_expire() -> None:
    account = Account.with_events_of(purchase(5), grant(5, expires_at=in_days(1)), hold(7))
    debited, expired = account.when(capture(4), at=in_days(1))
    assert isinstance(debited, e.CreditsDebited)
    assert debited.released_micro == micro(3)
    assert isinstance(expired, e.GrantExpired)
    assert expired.amount_micro == micro(1)
    assert account.balance == e.Balance(paid_micro=micro(5), promotional_micro=0, held_micro=0)


def test_a_refund_of_credits_that_have_expired_expires_with_them_and_says_so() -> None:
    account = Account.with_events_of(purchase(5), grant(5, expires_at=in_days(1)), hold(7))
    (debited,) = account.when(capture(7))
    refunded, expired = account.when(refund_of(debited), at=in_days(1))
    assert isinstance(refunded, e.DebitRefunded)
    assert refunded.amount_micro == micro(7)
    assert isinstance(expired, e.GrantExpired)
    assert expired.amount_micro == micro(5)
    assert account.balance.available_micro == micro(5)


def test_after_every_command_the_balance_is_what_can_be_spent() -> None:
    account = Account.with_events_of(grant(5, expires_at=in_days(1)), purchase(1), hold(3))
    later = in_days(2)
    for command in (EXPIRE, release(), purchase(1, "next"), hold(2, "next")):
        account.when(command, at=later)
        assert account.opened.available_micro(later) == account.balance.available_micro


def test_expiry_does_not_depend_on_the_zone_in_which_it_was_written() -> None:
    account = Account.with_events_of(grant(5, expires_at=in_days(1)))
    bucket = account.opened.buckets[0]
    assert bucket.expires_at is not None
    elsewhere = replace(bucket, expires_at=bucket.expires_at.astimezone())
    state = replace(account.opened, buckets=(elsewhere,))
    assert len(decide(EXPIRE, state, in_days(1))) == 1
