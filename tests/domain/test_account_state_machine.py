"""Random lives of a credit account, held against the naive one.

`Account.when` (tests/domain/given.py) already checks each event: its version, that the balance it
carries is the fold's, and that its postings explain the change.
"""

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from functools import reduce

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
)

from domain.accounts import commands as c
from domain.accounts import events as e
from domain.accounts.postings import postings
from domain.accounts.state import AccountState, evolve
from domain.errors import (
    AccountIsFrozen,
    AlreadyRefunded,
    HoldNotExpired,
    HoldNotOpen,
    InsufficientCredits,
    InvalidAmount,
    MessageNotFound,
    Refusal,
)
from tests.domain import given
from tests.domain.naive_account import NaiveAccount

# Small numbers meet each other often: exact amounts, empty buckets, equal expiries.
amounts = st.integers(min_value=1, max_value=12)
lifetimes = st.integers(min_value=1, max_value=6).map(timedelta)
# The name of its hold, its event, and what the naive account spent.
Debit = tuple[str, e.CreditsDebited, list[tuple[str, int]]]


class AccountLife(RuleBasedStateMachine):
    holds: Bundle[str] = Bundle("holds")
    debits: Bundle[Debit] = Bundle("debits")

    def __init__(self) -> None:
        super().__init__()
        self.now: datetime = given.NOW
        self.account = given.Account.with_events_of()
        self.naive = NaiveAccount()
        self.delivered: Counter[str] = Counter()
        self.refunded_micro = 0
        self.names = 0

    def name(self, kind: str) -> str:
        self.names += 1
        return f"{kind}-{self.names}"

    def accepted(self, command: given.AnyCommand) -> tuple[e.AccountEvent, ...]:
        """The naive account's old jars are emptied before the command and after it by the rule
        that sends it."""
        self.naive.empty_old_jars(self.now)
        return self.account.when(command, at=self.now)

    def refused(self, command: given.AnyCommand, refusal: type[Refusal]) -> None:
        before, claims = self.account.opened, dict(self.account.claims)
        with pytest.raises(refusal):
            self.account.when(command, at=self.now)
        assert self.account.opened is before
        assert self.account.claims == claims

    @rule(amount=amounts, bonus=st.integers(min_value=0, max_value=3))
    def purchase(self, amount: int, bonus: int) -> None:
        name = self.name("purchase")
        command = replace(given.purchase(0, name), amount_micro=amount, bonus_micro=bonus)
        self.accepted(command)
        self.naive.fill_new_jar(name, amount, "issuance:paid", paid=True)
        if bonus:
            self.naive.fill_new_jar(f"{name}-bonus", bonus, "issuance:promotional", paid=False)

    @rule(amount=amounts, lifetime=st.none() | lifetimes)
    def grant(self, amount: int, lifetime: timedelta | None) -> None:
        name = self.name("grant")
        expires_at = None if lifetime is None else self.now + lifetime
        self.accepted(replace(given.grant(0, name, expires_at=expires_at), amount_micro=amount))
        self.naive.fill_new_jar(
            name, amount, "issuance:promotional", paid=False, expires_at=expires_at
        )

    @rule(
        target=holds,
        amount=st.integers(min_value=0, max_value=12),
        everything=st.booleans(),
        lifetime=lifetimes,
    )
    def hold(
        self, amount: int, everything: bool, lifetime: timedelta
    ) -> str | MultipleResults[str]:
        name = self.name("hold")
        spendable = self.naive.spendable(self.now)
        amount = spendable if everything else amount
        expires_at = self.now + lifetime
        command = replace(given.hold(0, name, expires_at=expires_at), amount_micro=amount)
        if self.naive.frozen:
            self.refused(command, AccountIsFrozen)
            return multiple()
        if amount > spendable:
            self.refused(command, InsufficientCredits)
            return multiple()
        self.accepted(command)
        self.naive.hold(name, amount, expires_at)
        return name

    @rule(target=debits, name=holds, amount=st.integers(min_value=0, max_value=12))
    def deliver(self, name: str, amount: int) -> Debit | MultipleResults[Debit]:
        envelope = self.naive.envelopes.get(name)
        if envelope is None:
            self.refused(given.capture(0, name), HoldNotOpen)
            return multiple()
        amount = min(amount, envelope.micro)
        events = self.accepted(replace(given.capture(0, name), amount_micro=amount))
        spent = self.naive.spend(name, amount)
        self.naive.empty_old_jars(self.now)
        self.delivered[name] += amount
        (debited,) = [event for event in events if isinstance(event, e.CreditsDebited)]
        return name, debited, spent

    @rule(name=holds)
    def fail(self, name: str) -> None:
        if name not in self.naive.envelopes:
            self.refused(given.release(name), HoldNotOpen)
            return
        self.accepted(given.release(name))
        self.naive.release(name)
        self.naive.empty_old_jars(self.now)

    @rule(name=holds)
    def sweep_hold(self, name: str) -> None:
        envelope = self.naive.envelopes.get(name)
        if envelope is None:
            self.refused(given.expire_hold(name), HoldNotOpen)
        elif envelope.expires_at > self.now:
            self.refused(given.expire_hold(name), HoldNotExpired)
        else:
            self.accepted(given.expire_hold(name))
            self.naive.release(name)
            self.naive.empty_old_jars(self.now)

    @rule(debit=debits, amount=st.integers(min_value=0, max_value=13), everything=st.booleans())
    def refund(self, debit: Debit, amount: int, everything: bool) -> None:
        """Of any debit, however often and of whatever amount."""
        name, debited, spent = debit
        charged = sum(micro for _, micro in spent)
        amount = charged if everything else amount
        command = replace(given.refund_of(debited, self.name("refund")), amount_micro=amount)
        if name in self.naive.refunded:
            self.refused(command, AlreadyRefunded)
            return
        if not 0 < amount <= charged:
            self.refused(command, InvalidAmount)
            return
        self.accepted(command)
        self.naive.refund(name, spent, amount)
        self.naive.empty_old_jars(self.now)
        self.refunded_micro += amount

    @rule(debit=debits)
    def refund_what_another_account_was_charged(self, debit: Debit) -> None:
        name, debited, _ = debit
        elsewhere = replace(debited, originator_id=given.an_id("another account"))
        refusal = AlreadyRefunded if name in self.naive.refunded else MessageNotFound
        self.refused(given.refund_of(elsewhere, self.name("refund")), refusal)

    @rule(amount=amounts)
    def adjust_in_favour(self, amount: int) -> None:
        name = self.name("adjustment")
        command = replace(given.adjust(e.Direction.CREDIT, 0, name), amount_micro=amount)
        self.accepted(command)
        self.naive.fill_new_jar(name, amount, "adjustments", paid=True)

    @rule(amount=amounts)
    def adjust_against(self, amount: int) -> None:
        command = replace(
            given.adjust(e.Direction.DEBIT, 0, self.name("adjustment")), amount_micro=amount
        )
        if amount > self.naive.spendable(self.now):
            self.refused(command, InsufficientCredits)
            return
        self.accepted(command)
        self.naive.remove(amount)

    @rule()
    def sweep_grants(self) -> None:
        self.accepted(c.ExpireGrants())

    @rule(frozen=st.booleans())
    def freeze(self, frozen: bool) -> None:
        self.accepted(given.FREEZE if frozen else given.UNFREEZE)
        self.naive.frozen = frozen

    @rule(passed=lifetimes)
    def time_passes(self, passed: timedelta) -> None:
        self.now += passed

    @invariant()
    def the_balance_is_the_naive_one(self) -> None:
        assert self.account.balance == e.Balance(
            paid_micro=self.naive.free(paid=True),
            promotional_micro=self.naive.free(paid=False),
            held_micro=self.naive.held(),
        )
        assert self.account.opened.available_micro(self.now) == self.naive.spendable(self.now)

    @invariant()
    def every_bucket_is_the_naive_jar_and_none_is_below_zero(self) -> None:
        jars = {given.an_id(jar.name): jar.micro for jar in self.naive.jars.values() if jar.micro}
        assert {b.bucket_id: b.free_micro for b in self.account.opened.buckets} == jars
        assert all(micro > 0 for micro in jars.values())

    @invariant()
    def the_journal_is_the_naive_book_and_sums_to_zero(self) -> None:
        journal: Counter[str] = Counter()
        for event in self.account.events:
            for posting in postings(event):
                journal[posting.source.removeprefix(f"user:{given.USER}:")] -= posting.amount_micro
                journal[posting.destination.removeprefix(f"user:{given.USER}:")] += (
                    posting.amount_micro
                )
        assert sum(journal.values()) == 0
        assert journal == self.naive.book

    @invariant()
    def a_hold_ends_at_most_once_and_is_open_until_then(self) -> None:
        events = self.account.events
        held = [x.hold_id for x in events if isinstance(x, e.CreditsHeld)]
        ended = [x.hold_id for x in events if isinstance(x, e.CreditsDebited | e.HoldReleased)]
        assert len(ended) == len(set(ended))
        assert {hold.hold_id for hold in self.account.opened.holds} == set(held) - set(ended)

    @invariant()
    def an_answer_is_billed_exactly_when_it_was_delivered(self) -> None:
        debits = [x for x in self.account.events if isinstance(x, e.CreditsDebited)]
        assert {x.message_id: x.amount_micro for x in debits} == {
            given.an_id(f"{name}-message"): micro for name, micro in self.delivered.items()
        }
        assert len(debits) == len(self.delivered)
        assert self.naive.book["revenue:usage"] == self.delivered.total() - self.refunded_micro

    @invariant()
    def a_debit_is_refunded_at_most_once_and_never_for_more_than_was_charged(self) -> None:
        charged = {x.message_id: x for x in self.account.events if isinstance(x, e.CreditsDebited)}
        refunds = [x for x in self.account.events if isinstance(x, e.DebitRefunded)]
        assert len({x.message_id for x in refunds}) == len(refunds)
        for refund in refunds:
            debit = charged[refund.message_id]
            assert 0 < refund.amount_micro <= debit.amount_micro
            taken = {share.bucket_id: share.amount_micro for share in debit.shares}
            assert all(share.amount_micro <= taken[share.bucket_id] for share in refund.shares)

    @invariant()
    def a_replay_of_the_log_is_the_state(self) -> None:
        replayed: AccountState | None = None
        replayed = reduce(evolve, self.account.events, replayed)
        assert replayed == self.account.opened


AccountLife.TestCase.settings = settings(stateful_step_count=50)
test_a_life_of_an_account_is_that_of_the_naive_one = AccountLife.TestCase
