"""Refunds and adjustments: a correction is a new event that names what it corrects."""

from dataclasses import replace

import pytest

from domain.accounts import events as e
from domain.accounts.decider import decide_refund
from domain.accounts.postings import Posting, postings
from domain.accounts.refunds import check_refund
from domain.credits import BALANCE_MICRO_MAX
from domain.errors import (
    AlreadyRefunded,
    InsufficientCredits,
    InvalidAmount,
    InvalidText,
    MessageNotFound,
)
from domain.text import REASON_CHARACTERS_MAX
from tests.domain.given import (
    ADMIN,
    FREEZE,
    NOW,
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
    assert refunded.shares == debited.shares
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


def test_a_part_goes_back_as_if_the_answer_had_cost_so_much_less() -> None:
    def account(cost: float) -> Account:
        return Account.with_events_of(purchase(10), grant(2), hold(5), capture(cost))

    refunded = account(5)
    (event,) = refunded.when(refund_of(refunded.events[-1], amount=3.5))
    assert isinstance(event, e.DebitRefunded)
    assert [(share.bucket_id, share.amount_micro) for share in event.shares] == [
        (an_id("grant"), micro(0.5)),
        (an_id("purchase"), micro(3)),
    ]
    assert set(refunded.opened.buckets) == set(account(1.5).opened.buckets)
    assert postings(event) == (
        Posting(
            source="revenue:usage", destination=f"user:{USER}:available", amount_micro=micro(3.5)
        ),
    )


@pytest.mark.parametrize("amount", [-1, 0, 3.000001, 4, 2_000_000_000])
def test_more_than_was_charged_is_never_refunded_and_nothing_is_no_refund(amount: float) -> None:
    account = Account.with_events_of(purchase(10), hold(4))
    (debited,) = account.when(capture(3))
    with pytest.raises(InvalidAmount, match="at most what the message cost, 3 credits"):
        account.when(refund_of(debited, amount=amount))
    account.when(refund_of(debited, amount=3))


def test_what_cost_nothing_has_nothing_to_refund() -> None:
    account = Account.with_events_of(hold(0))
    (debited,) = account.when(capture(0))
    with pytest.raises(InvalidAmount, match="nothing to refund"):
        account.when(refund_of(debited))


def test_a_refund_that_claimed_nothing_counts_as_well() -> None:
    account = Account.with_events_of(purchase(10), hold(4))
    (debited,) = account.when(capture(4))
    (refunded,) = account.when(refund_of(debited, amount=2))
    assert isinstance(refunded, e.DebitRefunded)
    with pytest.raises(AlreadyRefunded):
        decide_refund(refund_of(debited, "again"), account.state, refunded, NOW)


def test_a_stored_refund_is_of_one_debit_before_it_and_of_no_more_than_that() -> None:
    account = Account.with_events_of(purchase(10), hold(4), hold(0, "free"))
    (debited,) = account.when(capture(4))
    (refunded,) = account.when(refund_of(debited, amount=2))
    assert isinstance(debited, e.CreditsDebited)
    assert isinstance(refunded, e.DebitRefunded)
    check_refund(refunded, debited)
    check_refund(replace(refunded, amount_micro=micro(4), shares=debited.shares), debited)
    with pytest.raises(AssertionError, match="no more is refunded than was charged"):
        check_refund(replace(refunded, amount_micro=micro(4) + 1), debited)
    with pytest.raises(AssertionError, match="the sum of its shares"):
        check_refund(replace(refunded, amount_micro=micro(4)), debited)
    with pytest.raises(AssertionError, match="at most once"):
        check_refund(refunded, refunded)
    with pytest.raises(AssertionError, match="the account was charged"):
        check_refund(refunded, None)
    # In old logs an answer that cost nothing could be refunded.
    (free,) = account.when(capture(0, "free"))
    assert isinstance(free, e.CreditsDebited)
    check_refund(replace(refunded, amount_micro=0, shares=()), free)


@pytest.mark.parametrize("again", [None, 1])
def test_a_debit_is_refunded_at_most_once_be_it_whole_or_in_part(again: float | None) -> None:
    account = Account.with_events_of(purchase(10), hold(4))
    (debited,) = account.when(capture(4))
    account.when(refund_of(debited, amount=2))
    with pytest.raises(AlreadyRefunded, match="adjust the account instead"):
        account.when(refund_of(debited, "again", amount=again))


def test_each_message_is_refunded_by_itself() -> None:
    account = Account.with_events_of(purchase(10), hold(4), hold(2, "next"))
    debits = [*account.when(capture(4)), *account.when(capture(2, "next"))]
    for number, debited in enumerate(debits):
        account.when(refund_of(debited, f"refund-{number}"))
    assert account.balance.available_micro == micro(10)


def test_the_claim_of_a_refund_names_whose_it_is() -> None:
    account = Account.with_events_of(purchase(10), hold(4))
    (debited,) = account.when(capture(4))
    claim, *_ = decide_refund(refund_of(debited), account.state, None, NOW)
    assert (claim.kind, claim.owner_id) == ("refund", USER)


def test_what_another_account_was_charged_is_not_refunded_here() -> None:
    account = Account.with_events_of(purchase(10), hold(4))
    (debited,) = account.when(capture(4))
    assert isinstance(debited, e.CreditsDebited)
    elsewhere = replace(debited, originator_id=an_id("another account"))
    with pytest.raises(MessageNotFound):
        account.when(refund_of(elsewhere))


def test_a_debit_that_the_account_has_not_seen_is_a_broken_caller() -> None:
    account = Account.with_events_of(purchase(10), hold(4))
    before = account.state
    (debited,) = account.when(capture(4))
    with pytest.raises(AssertionError, match="stands in the account's log"):
        decide_refund(refund_of(debited), before, None, NOW)


def test_a_refund_into_a_bucket_of_another_kind_is_a_broken_caller() -> None:
    account = Account.with_events_of(purchase(10), hold(4))
    (debited,) = account.when(capture(4))
    assert isinstance(debited, e.CreditsDebited)
    forged = replace(debited.shares[0], kind=e.BucketKind.PROMOTIONAL)
    with pytest.raises(AssertionError, match="balance"):
        account.when(refund_of(replace(debited, shares=(forged,))))


def test_a_refund_does_not_lift_an_account_over_what_it_may_hold() -> None:
    account = Account.with_events_of(purchase(10), hold(4))
    (debited,) = account.when(capture(4))
    full = replace(purchase(0, "more"), amount_micro=BALANCE_MICRO_MAX - micro(7))
    account.when(full)
    with pytest.raises(InvalidAmount, match="at most"):
        account.when(refund_of(debited))
    account.when(refund_of(debited, amount=1))


def test_a_frozen_account_can_be_corrected() -> None:
    account = Account.with_events_of(purchase(10), hold(4))
    (debited,) = account.when(capture(4))
    for command in (FREEZE, refund_of(debited), adjust(e.Direction.DEBIT, 1)):
        account.when(command)
    assert account.balance.available_micro == micro(9)


def test_whoever_corrects_or_freezes_an_account_says_why() -> None:
    account = Account.with_events_of(purchase(10), hold(4))
    (debited,) = account.when(capture(4))
    for reason in ("", " \u200b ", "two\nlines", "x" * (REASON_CHARACTERS_MAX + 1)):
        for command in (
            replace(refund_of(debited), reason=reason),
            replace(adjust(e.Direction.CREDIT, 1), reason=reason),
            replace(adjust(e.Direction.DEBIT, 1), reason=reason),
            replace(FREEZE, reason=reason),
        ):
            with pytest.raises(InvalidText, match="reason"):
                account.when(command)
    (refunded,) = account.when(replace(refund_of(debited), reason=" a slip "))
    assert isinstance(refunded, e.DebitRefunded)
    assert refunded.reason == "a slip"


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
