"""Whoever has the ledger's keys can write any refund; one that breaks a rule is named."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from domain.accounts import events as e
from domain.accounts.decider import decide_refund
from infrastructure.proofs.verify.streams import CHARGES_READ
from tests.domain.given import (
    ACCOUNT,
    NOW,
    Account,
    an_id,
    capture,
    hold,
    purchase,
    refund_of,
)
from tests.infrastructure.proofs.verify.books import Books


def charged() -> Account:
    return Account.with_events_of(purchase(10), hold(4), capture(4))


def debit_of(account: Account) -> e.CreditsDebited:
    (debit,) = (event for event in account.events if isinstance(event, e.CreditsDebited))
    return debit


def refunded(account: Account, debit: e.CreditsDebited, name: str = "refund") -> Account:
    """By a decider that is told nothing of earlier refunds."""
    _, events, account.state = decide_refund(refund_of(debit, name), account.state, None, NOW)
    account.events += events
    return account


def once() -> Account:
    account = charged()
    return refunded(account, debit_of(account))


def twice() -> Account:
    account = once()
    return refunded(account, debit_of(account), "again")


def above_its_charge() -> Account:
    account = charged()
    debit = debit_of(account)
    more = replace(debit.shares[0], amount_micro=debit.amount_micro + 1)
    return refunded(account, replace(debit, amount_micro=more.amount_micro, shares=(more,)))


def of_nothing() -> Account:
    account = charged()
    return refunded(account, replace(debit_of(account), message_id=an_id("another")))


async def stored(books: Books, account: Account) -> int:
    """The position of the account's last event."""
    position = books.log.append([account.events])
    await books.grow(75, 1)
    return position


@pytest.mark.parametrize(
    ("history", "rule"),
    [
        (twice, "a debit is refunded at most once"),
        (above_its_charge, "no more is refunded than was charged"),
        (of_nothing, "a refund is of what the account was charged before"),
    ],
)
async def test_a_refund_that_breaks_a_rule_is_named(
    books: Books, history: Callable[[], Account], rule: str
) -> None:
    position = await stored(books, history())

    found = await books.differences()

    assert found.keys() == {"accounts"}
    (difference,) = found["accounts"]
    assert (difference.position, difference.row) == (position, str(ACCOUNT))
    assert difference.text.endswith(f"breaks a rule: {rule}")


async def test_a_refund_is_right_however_long_after_its_debit(books: Books) -> None:
    account = charged()
    first = debit_of(account)
    for number in range(CHARGES_READ + 1):
        account.when(hold(0.001, f"hold-{number}"))
        account.when(capture(0.001, f"hold-{number}"))
    await stored(books, refunded(account, first))

    assert await books.differences() == {}
