"""How a hold ends: captured, released or expired, and only one of them."""

from itertools import product

import pytest

from domain.accounts import commands as c
from domain.accounts import events as e
from domain.accounts.state import evolve
from domain.errors import HoldNotExpired, HoldNotOpen
from tests.domain.given import (
    ACCOUNT,
    CONVERSATION,
    NOW,
    PRICE,
    USER,
    Account,
    an_id,
    capture,
    expire_hold,
    grant,
    hold,
    in_days,
    micro,
    purchase,
    release,
)


def test_a_capture_of_the_whole_hold_spends_it() -> None:
    account = Account.with_events_of(purchase(10), hold(4))
    events = account.when(capture(4))
    assert events == (
        e.CreditsDebited(
            originator_id=ACCOUNT,
            originator_version=4,
            timestamp=NOW,
            user_id=USER,
            balance=e.Balance(paid_micro=micro(6), promotional_micro=0, held_micro=0),
            hold_id=an_id("hold"),
            amount_micro=micro(4),
            released_micro=0,
            shares=(
                e.Share(
                    bucket_id=an_id("purchase"),
                    kind=e.BucketKind.PAID,
                    expires_at=None,
                    opened_version=2,
                    amount_micro=micro(4),
                ),
            ),
            message_id=an_id("hold-message"),
            conversation_id=CONVERSATION,
            model="gemma3-270m",
            price=PRICE,
            prompt_tokens=7,
            completion_tokens=11,
        ),
    )
    assert account.opened.holds == ()


def test_a_capture_smaller_than_the_hold_gives_the_rest_back_where_it_came_from() -> None:
    account = Account.with_events_of(purchase(10), grant(2), hold(5))
    (debited,) = account.when(capture(1.5))
    assert isinstance(debited, e.CreditsDebited)
    assert (debited.amount_micro, debited.released_micro) == (micro(1.5), micro(3.5))
    assert account.free_in("grant") == micro(0.5)
    assert account.free_in("purchase") == micro(10)


def test_a_capture_of_nothing_gives_the_whole_hold_back() -> None:
    account = Account.with_events_of(purchase(10), hold(5))
    (debited,) = account.when(capture(0))
    assert isinstance(debited, e.CreditsDebited)
    assert (debited.released_micro, debited.shares) == (micro(5), ())
    assert account.balance.paid_micro == micro(10)


def test_a_capture_never_exceeds_its_hold() -> None:
    account = Account.with_events_of(purchase(10), hold(4))
    for amount in (4.000001, -0.000001):
        with pytest.raises(AssertionError, match="never exceeds its hold"):
            account.when(capture(amount))


def test_a_release_gives_everything_back_and_says_why() -> None:
    account = Account.with_events_of(purchase(10), grant(2), hold(5))
    (released,) = account.when(release(reason="cancelled"))
    assert isinstance(released, e.HoldReleased)
    assert (released.amount_micro, released.reason) == (micro(5), "cancelled")
    assert released.message_id == an_id("hold-message")
    assert account.free_in("grant") == micro(2)
    assert account.free_in("purchase") == micro(10)


def test_one_hold_is_settled_and_the_others_stay_open() -> None:
    account = Account.with_events_of(purchase(10), hold(1, "a"), hold(2, "b"), hold(3, "c"))
    account.when(capture(2, "b"))
    assert [h.hold_id for h in account.opened.holds] == [an_id("a"), an_id("c")]
    assert account.balance == e.Balance(
        paid_micro=micro(4), promotional_micro=0, held_micro=micro(4)
    )


def test_a_hold_expires_at_its_time_and_not_before() -> None:
    account = Account.with_events_of(purchase(10), hold(4, expires_at=in_days(1)))
    with pytest.raises(HoldNotExpired, match="is open until 2026-03-02"):
        account.when(expire_hold(), at=in_days(0.999))
    (released,) = account.when(expire_hold(), at=in_days(1))
    assert isinstance(released, e.HoldReleased)
    assert released.reason == "expired"
    assert account.balance.available_micro == micro(10)


def test_a_late_answer_is_still_paid_while_the_sweeper_has_not_come() -> None:
    account = Account.with_events_of(purchase(10), hold(4, expires_at=in_days(1)))
    account.when(capture(4), at=in_days(2))
    assert account.balance.total_micro == micro(6)


ENDINGS: tuple[c.AccountCommand, ...] = (capture(4), release(), expire_hold())


@pytest.mark.parametrize(("first", "second"), [*product(ENDINGS, repeat=2)])
def test_of_two_endings_of_a_hold_exactly_the_first_wins(
    first: c.AccountCommand, second: c.AccountCommand
) -> None:
    account = Account.with_events_of(purchase(10), hold(4, expires_at=in_days(1)))
    account.when(first, at=in_days(2))
    balance = account.balance
    with pytest.raises(HoldNotOpen, match="was captured or released before"):
        account.when(second, at=in_days(2))
    assert account.balance == balance


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_hold_that_never_was_cannot_end(ending: c.AccountCommand) -> None:
    account = Account.with_events_of(purchase(10))
    with pytest.raises(HoldNotOpen):
        account.when(ending)


def test_a_fold_never_rejects_history_even_where_the_rules_would() -> None:
    account = Account.with_events_of(purchase(10), hold(4))
    (released,) = account.when(release())
    assert evolve(account.opened, released) == account.opened
