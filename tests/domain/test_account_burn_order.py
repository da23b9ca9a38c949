"""Which credits are spent first."""

import pytest

from domain.accounts import events as e
from domain.errors import InsufficientCredits
from tests.domain.given import (
    NOW,
    Account,
    adjust,
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


def shares_of(event: e.AccountEvent) -> list[tuple[object, int]]:
    assert isinstance(event, e.CreditsHeld | e.CreditsDebited)
    return [(share.bucket_id, share.amount_micro) for share in event.shares]


def test_the_grant_that_expires_first_is_spent_before_one_that_expires_later() -> None:
    account = Account.with_events_of(
        grant(5, "later", expires_at=in_days(9)), grant(5, "sooner", expires_at=in_days(2))
    )
    (held,) = account.when(hold(7))
    assert shares_of(held) == [(an_id("sooner"), micro(5)), (an_id("later"), micro(2))]


def test_a_grant_that_expires_is_spent_before_one_that_does_not() -> None:
    account = Account.with_events_of(grant(5, "forever"), grant(5, "sooner", expires_at=in_days(2)))
    (held,) = account.when(hold(6))
    assert shares_of(held) == [(an_id("sooner"), micro(5)), (an_id("forever"), micro(1))]


def test_promotional_credits_are_spent_before_older_paid_ones() -> None:
    account = Account.with_events_of(purchase(5, "paid"), grant(5, "promotional"))
    (held,) = account.when(hold(6))
    assert shares_of(held) == [(an_id("promotional"), micro(5)), (an_id("paid"), micro(1))]


def test_among_equals_the_oldest_is_spent_first() -> None:
    account = Account.with_events_of(purchase(5, "old"), purchase(5, "new"))
    (held,) = account.when(hold(6))
    assert shares_of(held) == [(an_id("old"), micro(5)), (an_id("new"), micro(1))]


def test_a_purchase_that_was_held_whole_and_released_is_still_the_oldest() -> None:
    account = Account.with_events_of(purchase(5, "old"), purchase(5, "new"))
    account.when(hold(5))
    account.when(release())
    (held,) = account.when(hold(6, "next"))
    assert shares_of(held) == [(an_id("old"), micro(5)), (an_id("new"), micro(1))]


def test_a_purchase_that_was_spent_whole_and_refunded_is_still_the_oldest() -> None:
    account = Account.with_events_of(purchase(5, "old"), purchase(5, "new"), hold(5))
    (debited,) = account.when(capture(5))
    account.when(refund_of(debited))
    (held,) = account.when(hold(6, "next"))
    assert shares_of(held) == [(an_id("old"), micro(5)), (an_id("new"), micro(1))]


def test_a_bucket_that_gives_the_exact_amount_is_the_only_share() -> None:
    account = Account.with_events_of(grant(5), purchase(5))
    (held,) = account.when(hold(5))
    assert shares_of(held) == [(an_id("grant"), micro(5))]
    assert account.free_in("grant") == 0
    assert account.free_in("purchase") == micro(5)


def test_a_share_names_what_is_needed_to_give_it_back() -> None:
    account = Account.with_events_of(grant(5, expires_at=in_days(2)))
    (held,) = account.when(hold(2))
    assert isinstance(held, e.CreditsHeld)
    assert held.shares == (
        e.Share(
            bucket_id=an_id("grant"),
            kind=e.BucketKind.PROMOTIONAL,
            expires_at=in_days(2),
            opened_version=2,
            amount_micro=micro(2),
        ),
    )


def test_a_capture_spends_the_shares_of_its_hold_in_burn_order() -> None:
    account = Account.with_events_of(purchase(5), grant(5), hold(8))
    (debited,) = account.when(capture(6))
    assert shares_of(debited) == [(an_id("grant"), micro(5)), (an_id("purchase"), micro(1))]
    assert account.free_in("grant") == 0
    assert account.free_in("purchase") == micro(4)


def test_a_debiting_adjustment_takes_credits_in_burn_order() -> None:
    account = Account.with_events_of(purchase(5), grant(5))
    (adjusted,) = account.when(adjust(e.Direction.DEBIT, 6))
    assert isinstance(adjusted, e.CreditsAdjusted)
    assert [share.kind for share in adjusted.shares] == [
        e.BucketKind.PROMOTIONAL,
        e.BucketKind.PAID,
    ]


def test_what_others_hold_cannot_be_held_again() -> None:
    account = Account.with_events_of(purchase(10), hold(7, "first"))
    with pytest.raises(InsufficientCredits) as refusal:
        account.when(hold(4, "second"))
    assert refusal.value.available_micro == micro(3)
    assert refusal.value.required_micro == micro(4)
    account.when(hold(3, "third"))
    assert account.opened.available_micro(NOW) == 0
