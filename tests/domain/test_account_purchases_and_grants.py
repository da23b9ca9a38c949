"""How credits come into an account."""

from dataclasses import replace

import pytest

from domain.accounts import commands as c
from domain.accounts import events as e
from domain.accounts.decider import decide
from domain.credits import AMOUNT_MICRO_MAX, BALANCE_MICRO_MAX
from domain.errors import InvalidAmount
from tests.domain.given import (
    ACCOUNT,
    ADMIN,
    FREEZE,
    NOW,
    USER,
    Account,
    adjust,
    an_id,
    grant,
    hold,
    in_days,
    micro,
    purchase,
)


def test_an_account_opens_empty() -> None:
    (opened,) = decide(c.OpenAccount(account_id=ACCOUNT, user_id=USER), None, NOW)
    assert opened == e.AccountOpened(
        originator_id=ACCOUNT, originator_version=1, timestamp=NOW, user_id=USER
    )
    account = Account.with_events_of()
    assert account.balance == e.Balance(paid_micro=0, promotional_micro=0, held_micro=0)


def test_an_account_is_opened_once() -> None:
    account = Account.with_events_of()
    with pytest.raises(AssertionError, match="opened once"):
        account.when(c.OpenAccount(account_id=ACCOUNT, user_id=USER))


def test_nothing_happens_to_an_account_before_it_is_opened() -> None:
    with pytest.raises(AssertionError, match="opened before anything else"):
        decide(purchase(1), None, NOW)


def test_a_purchase_adds_paid_credits() -> None:
    account = Account.with_events_of()
    events = account.when(
        c.PurchaseCredits(
            purchase_id=an_id("purchase"),
            amount_micro=micro(100),
            bonus_id=an_id("bonus"),
            bonus_micro=0,
            package_id="starter",
            development=True,
        )
    )
    assert events == (
        e.CreditsPurchased(
            originator_id=ACCOUNT,
            originator_version=2,
            timestamp=NOW,
            user_id=USER,
            balance=e.Balance(paid_micro=micro(100), promotional_micro=0, held_micro=0),
            purchase_id=an_id("purchase"),
            amount_micro=micro(100),
            package_id="starter",
            development=True,
        ),
    )


def test_the_bonus_of_a_purchase_is_promotional_without_expiry_and_names_the_purchase() -> None:
    account = Account.with_events_of()
    purchased, bonus = account.when(purchase(100, bonus=15))
    assert isinstance(purchased, e.CreditsPurchased)
    assert isinstance(bonus, e.CreditsGranted)
    assert bonus.amount_micro == micro(15)
    assert bonus.expires_at is None
    assert bonus.reason == "bonus"
    assert bonus.purchase_id == purchased.purchase_id
    assert account.balance == e.Balance(
        paid_micro=micro(100), promotional_micro=micro(15), held_micro=0
    )


def test_a_bonus_cannot_share_its_bucket_with_the_purchase() -> None:
    account = Account.with_events_of()
    same = replace(purchase(10, bonus=1), bonus_id=an_id("purchase"))
    with pytest.raises(AssertionError, match="balance"):
        account.when(same)


def test_a_grant_adds_promotional_credits_and_says_who_gave_them() -> None:
    account = Account.with_events_of()
    (granted,) = account.when(
        c.GrantCredits(
            grant_id=an_id("grant"),
            amount_micro=micro(5),
            expires_at=in_days(30),
            reason="an apology",
            granted_by=ADMIN,
        )
    )
    assert isinstance(granted, e.CreditsGranted)
    assert (granted.granted_by, granted.reason) == (ADMIN, "an apology")
    assert granted.purchase_id is None
    assert account.balance.promotional_micro == micro(5)


def test_a_frozen_account_can_still_be_credited() -> None:
    account = Account.with_events_of(FREEZE, purchase(3), grant(2), adjust(e.Direction.CREDIT, 1))
    assert account.balance.available_micro == micro(6)


@pytest.mark.parametrize("amount_micro", [0, -1, AMOUNT_MICRO_MAX + 1])
def test_an_amount_outside_the_bounds_is_refused_by_every_command_that_carries_one(
    amount_micro: int,
) -> None:
    account = Account.with_events_of(purchase(1))
    for command in (
        replace(purchase(1, "next"), amount_micro=amount_micro),
        replace(grant(1), amount_micro=amount_micro),
        replace(adjust(e.Direction.CREDIT, 1), amount_micro=amount_micro),
        replace(adjust(e.Direction.DEBIT, 1), amount_micro=amount_micro),
    ):
        with pytest.raises(InvalidAmount, match="above zero and at most 1000000000 credits"):
            account.when(command)


@pytest.mark.parametrize("bonus_micro", [-1, AMOUNT_MICRO_MAX + 1])
def test_a_bonus_outside_the_bounds_refuses_the_whole_purchase(bonus_micro: int) -> None:
    account = Account.with_events_of()
    with pytest.raises(InvalidAmount):
        account.when(replace(purchase(1), bonus_micro=bonus_micro))
    assert account.balance.total_micro == 0


def test_an_account_cannot_grow_past_what_a_column_holds() -> None:
    account = Account.with_events_of(replace(purchase(1), amount_micro=BALANCE_MICRO_MAX - 5))
    account.when(hold(1))
    for command in (
        replace(purchase(1, "next"), amount_micro=6),
        replace(purchase(1, "next"), amount_micro=5, bonus_micro=1),
        replace(grant(1), amount_micro=6),
        replace(adjust(e.Direction.CREDIT, 1), amount_micro=6),
    ):
        with pytest.raises(InvalidAmount, match="an account holds at most 1000000000 credits"):
            account.when(command)
    account.when(replace(grant(1), amount_micro=5))
    assert account.balance.total_micro == BALANCE_MICRO_MAX


@pytest.mark.parametrize("days", [0, -1])
def test_a_grant_must_expire_in_the_future(days: int) -> None:
    account = Account.with_events_of()
    with pytest.raises(InvalidAmount, match="must expire in the future"):
        account.when(grant(1, expires_at=in_days(days)))


def test_a_grant_whose_expiry_names_no_zone_is_a_broken_caller() -> None:
    account = Account.with_events_of()
    with pytest.raises(AssertionError, match="carry their zone"):
        account.when(grant(1, expires_at=in_days(1).replace(tzinfo=None)))


def test_an_event_time_names_its_zone() -> None:
    account = Account.with_events_of()
    with pytest.raises(AssertionError, match="carry their zone"):
        account.when(purchase(1), at=NOW.replace(tzinfo=None))
