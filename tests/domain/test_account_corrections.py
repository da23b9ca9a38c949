"""Refunds and adjustments: a correction is a new event that names what it corrects."""

from dataclasses import replace

import pytest

from domain.accounts import events as e
from domain.accounts.postings import Posting, postings
from domain.errors import InsufficientCredits
from tests.domain.given import (
    ADMIN,
    USER,
    Account,
    adjust,
    an_id,
    capture,
    grant,
    hold,
    micro,
    purchase,
    refund_of,
)


def test_a_refund_gives_the_debit_back_where_it_came_from() -> None:
    account = Account.with_events_of(purchase(10), grant(2), hold(5))
    (debited,) = account.when(capture(3))
    (refunded,) = account.when(refund_of(debited))
    assert isinstance(refunded, e.DebitRefunded)
    assert isinstance(debited, e.CreditsDebited)
    assert (refunded.message_id, refunded.amount_micro) == (debited.message_id, micro(3))
    assert (refunded.reason, refunded.refunded_by) == ("a wrong answer", ADMIN)
    assert account.free_in("grant") == micro(2)
    assert account.free_in("purchase") == micro(10)


def test_a_refund_joins_what_is_left_in_its_bucket() -> None:
    account = Account.with_events_of(purchase(10), hold(4))
    (debited,) = account.when(capture(4))
    account.when(hold(1, "next"))
    account.when(refund_of(debited))
    assert account.free_in("purchase") == micro(9)
    assert len(account.opened.buckets) == 1


def test_a_free_answer_is_refunded_without_moving_anything() -> None:
    account = Account.with_events_of(hold(0))
    (debited,) = account.when(capture(0))
    (refunded,) = account.when(refund_of(debited))
    assert postings(refunded) == ()


def test_a_refund_is_the_sum_of_its_shares() -> None:
    account = Account.with_events_of(purchase(10), hold(4))
    (debited,) = account.when(capture(4))
    with pytest.raises(AssertionError):
        account.when(replace(refund_of(debited), amount_micro=micro(5)))


def test_a_refund_into_a_bucket_of_another_kind_is_a_broken_caller() -> None:
    account = Account.with_events_of(purchase(10), hold(4))
    (debited,) = account.when(capture(4))
    command = refund_of(debited)
    forged = replace(command.shares[0], kind=e.BucketKind.PROMOTIONAL)
    with pytest.raises(AssertionError, match="balance"):
        account.when(replace(command, shares=(forged,)))


def test_a_crediting_adjustment_opens_a_paid_bucket_of_its_own() -> None:
    account = Account.with_events_of(grant(1))
    (adjusted,) = account.when(adjust(e.Direction.CREDIT, 3))
    assert isinstance(adjusted, e.CreditsAdjusted)
    assert (adjusted.shares, adjusted.adjusted_by) == ((), ADMIN)
    assert account.balance.paid_micro == micro(3)
    assert account.free_in("adjustment") == micro(3)
    assert postings(adjusted) == (
        Posting(source="adjustments", destination=f"user:{USER}:available", amount_micro=micro(3)),
    )


def test_a_debiting_adjustment_takes_what_is_available() -> None:
    account = Account.with_events_of(purchase(5))
    (adjusted,) = account.when(adjust(e.Direction.DEBIT, 2))
    assert isinstance(adjusted, e.CreditsAdjusted)
    assert adjusted.shares[0].bucket_id == an_id("purchase")
    assert account.balance.paid_micro == micro(3)
    assert postings(adjusted) == (
        Posting(source=f"user:{USER}:available", destination="adjustments", amount_micro=micro(2)),
    )


def test_a_debiting_adjustment_leaves_what_is_held() -> None:
    account = Account.with_events_of(purchase(5), hold(4))
    with pytest.raises(InsufficientCredits):
        account.when(adjust(e.Direction.DEBIT, 2))
    account.when(adjust(e.Direction.DEBIT, 1))
    account.when(capture(4))
    assert account.balance.total_micro == 0
