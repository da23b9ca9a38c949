"""Two processes on the same accounts, held against the account a child would keep."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import pytest

from application.ledger.ledger import Transaction
from application.ledger.streams import ACCOUNT
from domain.accounts import commands as c
from domain.accounts import events as e
from domain.accounts.decider import decide
from domain.errors import HoldNotOpen, InsufficientCredits
from domain.identifiers import account_id
from tests.application.world import World, outcome_of
from tests.domain.naive_account import NaiveAccount
from tests.support.servers import DatabaseUrls

ACCOUNTS = 3
WAVES = 12
WAVE_MAX = 24
MICRO_MAX = 4_000_000


@dataclass(frozen=True)
class Done:
    """One command: what it was to write, and what its caller heard."""

    marks: frozenset[UUID]
    outcome: object


class Schedule:
    """Waves of commands that run at the same time, in both processes."""

    def __init__(self, worlds: list[World], accounts: list[UUID], chance: random.Random) -> None:
        self._worlds = worlds
        self._accounts = accounts
        self._chance = chance
        self._holds: list[tuple[UUID, UUID]] = []
        self.done: list[Done] = []

    async def wave(self) -> None:
        count = self._chance.randint(1, WAVE_MAX)
        await asyncio.gather(*(self._one() for _ in range(count)))

    def _one(self) -> "asyncio.Future[None]":
        world = self._chance.choice(self._worlds)
        stream_id = self._chance.choice(self._accounts)
        command = self._command(world, stream_id)
        also: tuple[UUID, c.AccountCommand] | None = None
        if isinstance(command, c.AdjustCredits) and self._chance.random() < 0.5:
            # A command of two streams, so that each builds on several others.
            other = self._chance.choice([a for a in self._accounts if a != stream_id])
            also = (other, self._grant(world))
        return asyncio.ensure_future(self._carry_out(world, stream_id, command, also))

    async def _carry_out(
        self,
        world: World,
        stream_id: UUID,
        command: c.AccountCommand,
        also: tuple[UUID, c.AccountCommand] | None,
    ) -> None:
        def work(transaction: Transaction) -> int:
            for target, wanted in [(stream_id, command), *([also] if also else [])]:
                state = transaction.load(ACCOUNT, target)
                transaction.add(ACCOUNT, *decide(wanted, state, world.clock.now()))
            return len(transaction.events)

        outcome = await outcome_of(world.ledger.transact(work))
        marks = {mark(command), *([mark(also[1])] if also else [])}
        self.done.append(Done(frozenset(marks), outcome))
        if isinstance(command, c.HoldCredits) and not isinstance(outcome, Exception):
            self._holds.append((stream_id, command.hold_id))

    def _command(self, world: World, stream_id: UUID) -> c.AccountCommand:
        micro = self._chance.randint(1, MICRO_MAX)
        own = [hold_id for account, hold_id in self._holds if account == stream_id]
        match self._chance.randrange(5):
            case 0:
                return self._grant(world)
            case 1:
                return c.HoldCredits(
                    hold_id=world.ids.new_id(),
                    amount_micro=micro,
                    expires_at=world.clock.now() + timedelta(hours=1),
                    message_id=world.ids.new_id(),
                    conversation_id=world.ids.new_id(),
                )
            case 2 | 3 if own:
                # Both processes may settle the same hold: exactly one of them does.
                return c.ReleaseHold(hold_id=self._chance.choice(own), reason="failed")
            case _:
                return c.AdjustCredits(
                    adjustment_id=world.ids.new_id(),
                    direction=e.Direction.DEBIT,
                    amount_micro=micro,
                    reason="test",
                    adjusted_by=stream_id,
                )

    def _grant(self, world: World) -> c.GrantCredits:
        return c.GrantCredits(
            grant_id=world.ids.new_id(),
            amount_micro=self._chance.randint(1, MICRO_MAX),
            expires_at=None,
            reason="test",
            granted_by=None,
        )


def mark(command: object) -> UUID:
    """The id that the command's event carries."""
    match command:
        case c.GrantCredits():
            return command.grant_id
        case c.HoldCredits() | c.ReleaseHold():
            return command.hold_id
        case c.AdjustCredits():
            return command.adjustment_id
    raise AssertionError(command)


def replay(naive: NaiveAccount, event: e.AccountEvent) -> UUID | None:
    match event:
        case e.AccountOpened():
            return None
        case e.CreditsGranted():
            naive.fill_new_jar(
                str(event.grant_id), event.amount_micro, "issuance:promotional", paid=False
            )
            return event.grant_id
        case e.CreditsHeld():
            naive.hold(str(event.hold_id), event.amount_micro, event.expires_at)
            return event.hold_id
        case e.HoldReleased():
            naive.release(str(event.hold_id))
            return event.hold_id
        case e.CreditsAdjusted():
            naive.remove(event.amount_micro)
            return event.adjustment_id
    raise AssertionError(event)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_two_processes_and_a_child_agree_on_every_account(
    migrated: DatabaseUrls, seed: int
) -> None:
    print(f"seed {seed}")
    world = World(migrated)  # not the fixture: there are no conversations in these books
    other = world.beside()
    users = [await world.a_user() for _ in range(ACCOUNTS)]
    accounts = [account_id(user) for user in users]
    schedule = Schedule([world, other], accounts, random.Random(seed))
    for _ in range(WAVES):
        await schedule.wave()
    cold = world.beside()

    children = {account: NaiveAccount() for account in accounts}
    written: Counter[tuple[UUID, str]] = Counter()
    for event in world.events():
        if isinstance(event, e.AccountEvent) and event.originator_id in children:
            found = replay(children[event.originator_id], event)
            if found is not None:
                written[found, type(event).__name__] += 1

    assert max(written.values()) == 1, "nothing is applied twice"
    check_answers(schedule.done, {found for found, _ in written})
    for account, child in children.items():
        for process in (world, other, cold):
            state = await process.ledger.load(ACCOUNT, account)
            assert state is not None
            assert state.balance.promotional_micro == child.free(paid=False)
            assert state.balance.held_micro == child.held()
    for process in (world, other, cold):
        await process.close()


def check_answers(done: list[Done], written: set[UUID]) -> None:
    refused = [d for d in done if isinstance(d.outcome, Exception)]
    assert all(isinstance(d.outcome, InsufficientCredits | HoldNotOpen) for d in refused), refused
    assert all(d.marks <= written for d in done if d not in refused), "what was answered is there"
    for d in refused:
        if isinstance(d.outcome, InsufficientCredits):
            assert not d.marks & written, "what was refused is not"
    assert len(refused) < len(done)
