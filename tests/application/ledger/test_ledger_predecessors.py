"""Commands that build on each other before the first of them is stored."""

import asyncio
from collections.abc import Callable

from application.ledger.ledger import Transaction
from application.ledger.streams import IDEMPOTENCY
from domain.claims.idempotency import IdempotencyKey
from domain.errors import InsufficientCredits
from domain.identifiers import account_id, idempotency_claim_id
from tests.application.ledger.account_work import (
    balance,
    grant,
    spend,
    stored_balance,
    write_at_once,
)
from tests.application.world import World, outcome_of


async def test_commands_of_one_account_follow_each_other_within_a_transaction(
    world: World,
) -> None:
    stream_id = account_id(await world.a_user())
    commands = [
        world.ledger.transact(lambda transaction: grant(world, transaction, stream_id))
        for _ in range(40)
    ]

    committed = await asyncio.gather(*commands)

    assert [one.value for one in committed] == list(range(11, 51)), "each saw the one before it"
    positions = [one.position or 0 for one in committed]
    assert positions == list(range(positions[0], positions[0] + 40))


async def test_credits_that_are_on_their_way_out_are_spent(world: World) -> None:
    stream_id = account_id(await world.a_user())

    outcomes = await asyncio.gather(
        *(
            outcome_of(
                world.ledger.transact(lambda transaction: spend(world, transaction, stream_id, 4))
            )
            for _ in range(3)
        )
    )

    assert [outcome.value for outcome in outcomes[:2]] == [6, 2]
    assert isinstance(outcomes[2], InsufficientCredits)
    assert await stored_balance(world, stream_id) == 2


async def test_when_one_fails_what_builds_on_it_is_decided_again(world: World) -> None:
    """The first one meets another process; the others saw its result, and none of them
    may be stored on top of what is stored instead."""
    other = world.beside()
    stream_id = account_id(await world.a_user())
    attempts: list[list[int]] = [[] for _ in range(10)]

    def work(number: int) -> Callable[[Transaction], int]:
        def decide_once(transaction: Transaction) -> int:
            after = spend(world, transaction, stream_id, 1)
            attempts[number].append(after)
            if sum(map(len, attempts)) == 1:
                write_at_once(other, lambda attempt: spend(other, attempt, stream_id, 5))
            return after

        return decide_once

    outcomes = await asyncio.gather(
        *(outcome_of(world.ledger.transact(work(number))) for number in range(10))
    )
    await other.close()

    assert [attempts[number][0] for number in range(10)] == list(range(9, -1, -1))
    done = [outcome.value for outcome in outcomes if not isinstance(outcome, Exception)]
    assert sorted(done) == [0, 1, 2, 3, 4]
    refused = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert len(refused) == 5
    assert all(isinstance(outcome, InsufficientCredits) for outcome in refused)
    assert await stored_balance(world, stream_id) == 0


async def test_what_cannot_be_stored_does_not_take_along_who_comes_after_it(world: World) -> None:
    stream_id = account_id(await world.a_user())

    outcomes = await asyncio.gather(
        *(
            outcome_of(
                world.ledger.transact(
                    lambda transaction, reason=reason: grant(  # type: ignore[misc]
                        world, transaction, stream_id, reason
                    )
                )
            )
            for reason in ["good", "\ud800", "good", "good"]
        )
    )

    assert isinstance(outcomes[1], Exception)
    assert await stored_balance(world, stream_id) == 13


async def test_a_refusal_waits_for_what_it_was_decided_on(world: World) -> None:
    """Credits that another command has taken, whose commit then fails, are there after all."""
    other = world.beside()
    stream_id = account_id(await world.a_user())
    tried: list[str] = []

    def first(transaction: Transaction) -> int:
        tried.append("first")
        after = spend(world, transaction, stream_id, 8)
        if tried == ["first"]:
            # With nothing left for it, the first one is refused when it is decided again.
            write_at_once(other, lambda attempt: spend(other, attempt, stream_id, 3))
        return after

    def second(transaction: Transaction) -> int:
        tried.append("second")
        return spend(world, transaction, stream_id, 7)

    outcomes = await asyncio.gather(
        outcome_of(world.ledger.transact(first)), outcome_of(world.ledger.transact(second))
    )
    await other.close()

    assert isinstance(outcomes[0], InsufficientCredits)
    assert outcomes[1].value == 0
    assert tried.count("second") == 2


async def test_a_refusal_counts_what_another_process_has_stored(world: World) -> None:
    """The cached state is behind; nothing would be written that could tell."""
    other = world.beside()
    stream_id = account_id(await world.a_user())
    for _ in range(5):
        await other.ledger.transact(lambda transaction: grant(other, transaction, stream_id))

    committed = await world.ledger.transact(
        lambda transaction: spend(world, transaction, stream_id, 15)
    )
    await other.close()

    assert committed.value == 0


async def test_an_answer_that_needs_no_write_counts_what_another_process_has_stored(
    world: World,
) -> None:
    other = world.beside()
    stream_id = account_id(await world.a_user())
    await other.ledger.transact(lambda transaction: grant(other, transaction, stream_id))

    committed = await world.ledger.transact(lambda transaction: balance(transaction, stream_id))
    await other.close()

    assert (committed.value, committed.position) == (11, None)


async def test_an_answer_that_needs_no_write_waits_for_what_it_has_seen(world: World) -> None:
    stream_id = account_id(await world.a_user())
    granted = asyncio.create_task(
        world.ledger.transact(lambda transaction: grant(world, transaction, stream_id))
    )
    await asyncio.sleep(0)

    committed = await world.ledger.transact(lambda transaction: balance(transaction, stream_id))

    assert committed.value == 11
    assert await stored_balance(world, stream_id) == 11
    await granted


async def test_what_was_only_read_must_be_current_too(world: World) -> None:
    """A reader of one account who writes another sees no half of a transfer."""
    other = world.beside()
    read_id, written_id = [account_id(await world.a_user()) for _ in range(2)]
    seen: list[int] = []

    def work(transaction: Transaction) -> int:
        seen.append(balance(transaction, read_id))
        if len(seen) == 1:
            write_at_once(other, lambda attempt: spend(other, attempt, read_id, 4))
        for _ in range(seen[-1]):
            grant(world, transaction, written_id)
        return seen[-1]

    committed = await world.ledger.transact(work)
    await other.close()

    assert seen == [10, 6]
    assert committed.value == 6
    assert await stored_balance(world, written_id) == 16


async def test_a_command_builds_on_whatever_wrote_one_of_its_streams(world: World) -> None:
    """An account and a claim: whoever saw either builds on both."""
    other = world.beside()
    user_id = await world.a_user()
    stream_id = account_id(user_id)
    key = IdempotencyKey(claim_id=idempotency_claim_id(user_id, "k"), request_hash="h")
    decided = asyncio.Event()

    def claimed(transaction: Transaction) -> str:
        spend(world, transaction, stream_id, 6)
        state = transaction.load(IDEMPOTENCY, key.claim_id)
        transaction.add(IDEMPOTENCY, key.complete(state, result="done", now=world.clock.now()))
        if not decided.is_set():
            write_at_once(other, lambda attempt: spend(other, attempt, stream_id, 6))
        decided.set()
        return "done"

    def replayed(transaction: Transaction) -> str | None:
        state = transaction.load(IDEMPOTENCY, key.claim_id)
        seen.append(None if state is None else state.result)
        return seen[-1]

    async def replay() -> str | None:
        return (await world.ledger.transact(replayed)).value

    seen: list[str | None] = []
    first = asyncio.create_task(outcome_of(world.ledger.transact(claimed)))
    await decided.wait()
    outcomes = [await replay(), await first]
    await other.close()

    assert seen == ["done", None]
    assert outcomes[0] is None, "what was never stored is never told"
    assert isinstance(outcomes[1], InsufficientCredits)
