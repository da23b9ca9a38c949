"""Callers that go away, states beyond the bound, and commands that never stand."""

import asyncio

import pytest

from application.ledger.ledger import LedgerLimits, Transaction
from application.ledger.streams import ACCOUNT
from domain.identifiers import account_id
from tests.application.ledger.account_work import grant, stored_balance, write_at_once
from tests.application.world import World, outcome_of


async def test_a_command_that_its_caller_leaves_is_decided_again_if_it_must(world: World) -> None:
    other = world.beside()
    stream_id = account_id(await world.a_user())
    attempts: list[int] = []
    decided = asyncio.Event()

    def work(transaction: Transaction) -> None:
        attempts.append(grant(world, transaction, stream_id))
        decided.set()
        if len(attempts) == 1:
            write_at_once(other, lambda attempt: grant(other, attempt, stream_id))

    task = asyncio.create_task(world.ledger.transact(work))
    await decided.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await other.close()

    assert attempts == [11, 12]
    assert await stored_balance(world, stream_id) == 12


async def test_states_beyond_the_bound_are_forgotten_and_read_again(world: World) -> None:
    small = world.beside()
    small.ledger._cache._entries_max = 3
    streams = [account_id(await world.a_user()) for _ in range(8)]

    for _ in range(3):
        await asyncio.gather(
            *(
                small.ledger.transact(
                    lambda transaction, stream_id=stream_id: grant(  # type: ignore[misc]
                        small, transaction, stream_id
                    )
                )
                for stream_id in streams
            )
        )

    assert len(small.ledger._cache._entries) <= 3
    await small.close()
    assert [await stored_balance(world, stream_id) for stream_id in streams] == [13] * 8


async def test_limits_of_attempts_hold_for_a_command_that_never_stands(world: World) -> None:
    stream_id = account_id(await world.a_user())
    world.ledger._limits = LedgerLimits(decisions_max=5)
    attempts: list[int] = []

    def restless(transaction: Transaction) -> None:
        attempts.append(1)
        transaction.load(ACCOUNT, world.ids.new_id())

    outcome = await outcome_of(world.ledger.transact(restless))

    assert len(attempts) == 5
    assert "try again" in str(outcome)
    assert await stored_balance(world, stream_id) == 10
