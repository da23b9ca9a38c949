"""Random lives of a credit account that two instances of the service write to, held against the
naive one.

Every rule and invariant of `tests/domain/test_account_state_machine.py` applies; what changes is
that commands go through two real ledgers on one PostgreSQL, in turn and at the same time.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from application.ledger.ledger import Ledger, Transaction
from application.ledger.streams import ACCOUNT, CLAIM
from domain.accounts import commands as c
from domain.accounts import events as e
from domain.accounts.decider import decide, decide_refund
from domain.accounts.state import AccountState
from domain.errors import InsufficientCredits
from domain.identifiers import refund_claim_id
from tests.application.world import World
from tests.domain import given
from tests.domain.test_account_state_machine import AccountLife
from tests.support.servers import DatabaseUrls

EXAMPLES, STEPS = 40, 25
_numbers = count(1)


class SharedAccount(given.Account):
    """Decided by whichever instance has its turn, stored, and read back from the log."""

    def __init__(self, runner: asyncio.Runner, worlds: list[World]) -> None:
        super().__init__()
        self._runner = runner
        self._worlds = worlds
        self._turn = 0
        self.account_id = given.an_id(f"shared account {next(_numbers)}")

    def when(
        self, command: given.AnyCommand, *, at: datetime = given.NOW
    ) -> tuple[e.AccountEvent, ...]:
        self._turn += 1
        ledger = self._worlds[self._turn % len(self._worlds)].ledger
        self._runner.run(self._decide(ledger, command, at))
        return self._read()

    def at_once(self, commands: list[c.AccountCommand], at: datetime) -> tuple[e.AccountEvent, ...]:
        """All at the same time, in turn through the instances. Returns what was stored, in order;
        a hold that met too little left nothing."""

        async def decide_all() -> None:
            await asyncio.gather(
                *(
                    self._decide_unless_poor(self._worlds[n % len(self._worlds)].ledger, one, at)
                    for n, one in enumerate(commands)
                )
            )

        self._runner.run(decide_all())
        return self._read()

    async def _decide_unless_poor(
        self, ledger: Ledger, command: c.AccountCommand, at: datetime
    ) -> None:
        with suppress(InsufficientCredits):
            await self._decide(ledger, command, at)

    async def _decide(self, ledger: Ledger, command: given.AnyCommand, at: datetime) -> None:
        def work(transaction: Transaction) -> None:
            state: AccountState | None = transaction.load(ACCOUNT, self.account_id)
            if not isinstance(command, c.RefundDebit):
                transaction.add(ACCOUNT, *decide(command, state, at))
                return
            claimed = transaction.load(CLAIM, refund_claim_id(command.debit.message_id))
            claim, events, _ = decide_refund(command, state, claimed, at)
            transaction.add(CLAIM, claim)
            transaction.add(ACCOUNT, *events)

        await ledger.transact(work)

    def _read(self) -> tuple[e.AccountEvent, ...]:
        stored: list[Any] = list(self._worlds[0].application.events.get(self.account_id))
        assert stored[: len(self.events)] == self.events, "what was stored stays as it was"
        new = stored[len(self.events) :]
        for event in new:
            self._append(event)
        return tuple(new)


class SharedLife(AccountLife):
    runner: asyncio.Runner
    worlds: list[World]

    def __init__(self) -> None:
        super().__init__()
        self.account: SharedAccount = SharedAccount(self.runner, self.worlds)
        self.account.when(
            c.OpenAccount(account_id=self.account.account_id, user_id=given.USER), at=self.now
        )

    def name(self, kind: str) -> str:
        """Other lives have left claims in the same database."""
        return f"{self.account.account_id}-{super().name(kind)}"

    @rule(
        purchases=st.lists(st.integers(min_value=1, max_value=12), min_size=1, max_size=4),
        holds=st.lists(st.integers(min_value=1, max_value=12), min_size=1, max_size=4),
    )
    def purchases_and_holds_race(self, purchases: list[int], holds: list[int]) -> None:
        if self.naive.frozen:
            return
        self.naive.empty_old_jars(self.now)
        names = {given.an_id(name): name for name in (self.name("race") for _ in purchases + holds)}
        until = self.now + timedelta(days=1)
        commands: list[c.AccountCommand] = []
        for name, amount in zip(names.values(), purchases + holds, strict=True):
            if len(commands) < len(purchases):
                commands.append(replace(given.purchase(0, name), amount_micro=amount))
            else:
                commands.append(replace(given.hold(0, name, expires_at=until), amount_micro=amount))
        spendable = [self.naive.spendable(self.now)]
        for event in self.account.at_once(commands, self.now):
            match event:
                case e.CreditsPurchased():
                    name = names[event.purchase_id]
                    self.naive.fill_new_jar(name, event.amount_micro, "issuance:paid", paid=True)
                case e.CreditsHeld():
                    self.naive.hold(names[event.hold_id], event.amount_micro, event.expires_at)
                case _:
                    assert isinstance(event, e.GrantExpired)
            spendable.append(self.naive.spendable(self.now))
        wanted = dict(zip(names.values(), purchases + holds, strict=True))
        for name in list(names.values())[len(purchases) :]:
            if name not in self.naive.envelopes:
                assert wanted[name] > min(spendable), "a hold is refused for want of credits alone"


@pytest.fixture
def machine(migrated: DatabaseUrls) -> Iterator[type[RuleBasedStateMachine]]:
    with asyncio.Runner() as runner:
        first = runner.run(opened(migrated))
        second = runner.run(opened(migrated))

        class Life(SharedLife):
            pass

        Life.runner, Life.worlds = runner, [first, second]
        yield Life
        for world in (first, second):
            runner.run(world.close())


async def opened(urls: DatabaseUrls) -> World:
    return World(urls)


def test_two_instances_on_one_account_are_the_naive_one(
    machine: type[RuleBasedStateMachine],
) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            # Every step is a commit: to make a failing life shorter would take minutes.
            phases=(Phase.reuse, Phase.generate),
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
