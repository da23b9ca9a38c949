"""Setting credits aside for an answer that is under way."""

from dataclasses import replace

import pytest

from domain.accounts import commands as c
from domain.accounts import events as e
from domain.errors import AccountIsFrozen, InsufficientCredits
from tests.domain.given import (
    ACCOUNT,
    ADMIN,
    CONVERSATION,
    FREEZE,
    NOW,
    UNFREEZE,
    USER,
    Account,
    an_id,
    capture,
    grant,
    hold,
    in_days,
    micro,
    purchase,
    release,
)


def test_a_hold_moves_credits_from_available_to_held() -> None:
    account = Account.with_events_of(purchase(10))
    events = account.when(hold(4, expires_at=in_days(1)))
    assert events == (
        e.CreditsHeld(
            originator_id=ACCOUNT,
            originator_version=3,
            timestamp=NOW,
            user_id=USER,
            balance=e.Balance(paid_micro=micro(6), promotional_micro=0, held_micro=micro(4)),
            hold_id=an_id("hold"),
            amount_micro=micro(4),
            shares=(
                e.Share(
                    bucket_id=an_id("purchase"),
                    kind=e.BucketKind.PAID,
                    expires_at=None,
                    opened_version=2,
                    amount_micro=micro(4),
                ),
            ),
            expires_at=in_days(1),
            message_id=an_id("hold-message"),
            conversation_id=CONVERSATION,
        ),
    )
    assert account.balance.total_micro == micro(10)


def test_everything_available_can_be_held() -> None:
    account = Account.with_events_of(purchase(3), grant(4))
    account.when(hold(7))
    assert account.balance == e.Balance(paid_micro=0, promotional_micro=0, held_micro=micro(7))


def test_one_micro_credit_too_much_is_refused_with_both_numbers() -> None:
    account = Account.with_events_of(purchase(3))
    with pytest.raises(InsufficientCredits) as refusal:
        account.when(replace(hold(3), amount_micro=micro(3) + 1))
    assert (refusal.value.required_micro, refusal.value.available_micro) == (3_000_001, 3_000_000)
    assert str(refusal.value) == (
        "this takes 3.000001 credits, and 3 are available; take less or add credits first"
    )
    assert account.balance.held_micro == 0


def test_an_empty_account_can_hold_nothing_but_a_free_answer() -> None:
    account = Account.with_events_of()
    with pytest.raises(InsufficientCredits):
        account.when(replace(hold(1), amount_micro=1))
    (held,) = account.when(hold(0))
    assert isinstance(held, e.CreditsHeld)
    assert (held.amount_micro, held.shares) == (0, ())


def test_a_free_answer_is_settled_like_any_other() -> None:
    account = Account.with_events_of(hold(0, "answered"), hold(0, "failed"))
    (debited,) = account.when(capture(0, "answered"))
    (released,) = account.when(release("failed"))
    assert isinstance(debited, e.CreditsDebited)
    assert (debited.amount_micro, debited.released_micro, debited.shares) == (0, 0, ())
    assert isinstance(released, e.HoldReleased)
    assert account.opened.holds == ()


def test_five_of_thirty_messages_are_affordable_and_the_others_are_refused() -> None:
    account = Account.with_events_of(purchase(50))
    refused = 0
    for number in range(30):
        try:
            account.when(hold(10, f"hold-{number}"))
        except InsufficientCredits:
            refused += 1
    assert refused == 25
    for number in range(5):
        account.when(capture(10, f"hold-{number}"))
    assert account.balance == e.Balance(paid_micro=0, promotional_micro=0, held_micro=0)
    assert account.opened.holds == ()


def test_a_hold_id_is_used_once() -> None:
    account = Account.with_events_of(purchase(10), hold(1))
    with pytest.raises(AssertionError, match="hold ids are fresh"):
        account.when(hold(1))


@pytest.mark.parametrize("days", [0, -1])
def test_a_hold_that_would_never_be_open_is_a_broken_caller(days: int) -> None:
    account = Account.with_events_of(purchase(10))
    with pytest.raises(AssertionError, match="a hold expires in the future"):
        account.when(hold(1, expires_at=in_days(days)))


def test_a_hold_whose_expiry_names_no_zone_is_a_broken_caller() -> None:
    """The sweeper could not compare it with the time, and the credits would be held for ever."""
    account = Account.with_events_of(purchase(10))
    with pytest.raises(AssertionError, match="carry their zone"):
        account.when(hold(1, expires_at=in_days(1).replace(tzinfo=None)))


def test_a_negative_hold_is_a_broken_caller() -> None:
    account = Account.with_events_of(purchase(10))
    with pytest.raises(AssertionError):
        account.when(hold(-1))


def test_a_frozen_account_takes_no_new_holds_until_it_is_unfrozen() -> None:
    account = Account.with_events_of(purchase(10), FREEZE)
    with pytest.raises(AccountIsFrozen, match="ask the administrator"):
        account.when(hold(1))
    account.when(UNFREEZE)
    account.when(hold(1))


def test_a_frozen_account_says_so_even_when_it_is_empty() -> None:
    account = Account.with_events_of(FREEZE)
    with pytest.raises(AccountIsFrozen):
        account.when(hold(1))


def test_what_was_under_way_when_the_account_was_frozen_still_settles() -> None:
    account = Account.with_events_of(purchase(10), hold(4, "answered"), hold(3, "failed"), FREEZE)
    account.when(capture(4, "answered"))
    account.when(release("failed"))
    assert account.balance == e.Balance(paid_micro=micro(6), promotional_micro=0, held_micro=0)


def test_freezing_and_unfreezing_are_recorded_once() -> None:
    account = Account.with_events_of()
    assert account.when(UNFREEZE) == ()
    (frozen,) = account.when(FREEZE)
    assert isinstance(frozen, e.AccountFrozen)
    assert (frozen.reason, frozen.frozen_by) == ("under review", ADMIN)
    assert account.when(c.FreezeAccount(reason="again", frozen_by=ADMIN)) == ()
    (unfrozen,) = account.when(UNFREEZE)
    assert isinstance(unfrozen, e.AccountUnfrozen)
    assert account.when(UNFREEZE) == ()
