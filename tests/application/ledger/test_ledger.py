"""The unit of work: all of it or nothing, decided from fresh states, and never in doubt."""

import asyncio

import pytest

from application.ledger.ledger import LedgerLimits, LedgerUnavailable, Transaction
from application.ledger.streams import ACCOUNT
from domain.accounts.events import CreditsGranted
from domain.credits import MICRO_PER_CREDIT
from domain.errors import InsufficientCredits
from domain.identifiers import account_id
from tests.application.ledger.account_work import write_at_once
from tests.application.ledger.spending import grant, load, spend
from tests.application.world import World
from tests.support.database_proxy import DatabaseProxy
from tests.support.servers import DatabaseUrls


async def test_a_stream_without_events_has_no_state(world: World) -> None:
    assert await world.ledger.load(ACCOUNT, world.ids.new_id()) is None


async def test_a_commit_returns_its_value_and_the_position_of_its_last_event(
    world: World,
) -> None:
    stream_id = account_id(await world.a_user())
    before = len(world.events())

    def work(transaction: Transaction) -> str:
        grant(world, transaction, stream_id)
        grant(world, transaction, stream_id)
        return "done"

    committed = await world.ledger.transact(work)

    assert committed.value == "done"
    assert committed.position == before + 2


async def test_nothing_to_write_has_no_position(world: World) -> None:
    committed = await world.ledger.transact(lambda transaction: len(transaction.events))

    assert (committed.value, committed.position) == (0, None)


async def test_a_transaction_sees_what_it_has_added(world: World) -> None:
    stream_id = account_id(await world.a_user())

    def work(transaction: Transaction) -> int:
        grant(world, transaction, stream_id, 5)
        state = transaction.load(ACCOUNT, stream_id)
        assert state is not None
        return state.balance.available_micro

    committed = await world.ledger.transact(work)

    assert committed.value == 15 * MICRO_PER_CREDIT
    assert (await load(world, stream_id)).balance.available_micro == committed.value


async def test_a_refusal_writes_nothing_of_its_transaction(world: World) -> None:
    stream_id = account_id(await world.a_user())
    before = world.events()

    def work(transaction: Transaction) -> None:
        grant(world, transaction, stream_id)
        spend(world, transaction, stream_id, 1000)

    with pytest.raises(InsufficientCredits):
        await world.ledger.transact(work)

    assert world.events() == before
    assert (await load(world, stream_id)).balance.available_micro == 10 * MICRO_PER_CREDIT


async def test_who_comes_second_is_decided_again_from_the_fresh_state(world: World) -> None:
    other = world.beside()
    stream_id = account_id(await world.a_user())
    seen: list[int] = []

    def work(transaction: Transaction) -> None:
        state = transaction.load(ACCOUNT, stream_id)
        assert state is not None
        seen.append(state.version)
        spend(world, transaction, stream_id, 7)
        if len(seen) == 1:
            write_at_once(other, lambda attempt: grant(other, attempt, stream_id))

    await world.ledger.transact(work)
    await other.close()

    assert seen == [2, 3]
    assert (await load(world, stream_id)).balance.available_micro == 4 * MICRO_PER_CREDIT


async def test_who_comes_second_may_be_refused(world: World) -> None:
    other = world.beside()
    stream_id = account_id(await world.a_user())
    attempts: list[int] = []

    def work(transaction: Transaction) -> None:
        attempts.append(1)
        spend(world, transaction, stream_id, 7)
        if len(attempts) == 1:
            write_at_once(other, lambda attempt: spend(other, attempt, stream_id, 7))

    with pytest.raises(InsufficientCredits):
        await world.ledger.transact(work)
    await other.close()

    assert (await load(world, stream_id)).balance.available_micro == 3 * MICRO_PER_CREDIT


async def test_many_writers_of_one_stream_in_two_processes_all_get_through(world: World) -> None:
    other = world.beside()
    stream_id = account_id(await world.a_user())
    # None comes second more often than the other process writes, so none gives up.
    writers = [(w, number) for w in (world, other) for number in range(8)]

    async def write(here: World) -> int | None:
        def work(transaction: Transaction) -> None:
            grant(here, transaction, stream_id)

        return (await here.ledger.transact(work)).position

    positions = await asyncio.gather(*(write(here) for here, _ in writers))
    await other.close()

    assert len(set(positions)) == 16
    assert (await load(world, stream_id)).balance.available_micro == 26 * MICRO_PER_CREDIT


async def test_a_writer_that_always_comes_second_gives_up_and_says_so(world: World) -> None:
    other = world.beside()
    stream_id = account_id(await world.a_user())
    world.ledger._limits = LedgerLimits(conflict_retries_max=2)
    attempts: list[int] = []

    def work(transaction: Transaction) -> None:
        attempts.append(1)
        grant(world, transaction, stream_id)
        attempt = Transaction(other.application)
        grant(other, attempt, stream_id)
        other.application.save(*attempt.events)

    with pytest.raises(LedgerUnavailable, match="at once"):
        await world.ledger.transact(work)
    await other.close()

    assert len(attempts) == 3


async def test_transactions_that_name_the_same_stream_take_turns(world: World) -> None:
    stream_id = account_id(await world.a_user())
    attempts: list[int] = []

    async def write() -> None:
        def work(transaction: Transaction) -> None:
            attempts.append(1)
            grant(world, transaction, stream_id)

        await world.ledger.transact(work)

    await asyncio.gather(*(write() for _ in range(25)))

    assert len(attempts) == 25, "no attempt met another's write"


async def test_a_commit_is_finished_although_its_caller_goes_away(world: World) -> None:
    stream_id = account_id(await world.a_user())
    decided = asyncio.Event()

    def work(transaction: Transaction) -> None:
        grant(world, transaction, stream_id)
        decided.set()

    task = asyncio.create_task(world.ledger.transact(work))
    await decided.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (await load(world, stream_id)).balance.available_micro == 11 * MICRO_PER_CREDIT
    # The next one builds on it.
    await world.ledger.transact(lambda transaction: grant(world, transaction, stream_id))


async def test_a_commit_whose_answer_was_lost_is_recognised_and_not_repeated(
    world: World, proxy: DatabaseProxy, migrated: DatabaseUrls
) -> None:
    distant = world.beside(migrated._replace(service=proxy.url))
    stream_id = account_id(await world.a_user())
    await distant.ledger.load(ACCOUNT, stream_id)

    proxy.cut_at_next_commit()
    task = asyncio.create_task(
        distant.ledger.transact(lambda transaction: grant(distant, transaction, stream_id))
    )
    await asyncio.to_thread(proxy.commit_lost.wait, 20)
    proxy.restore()
    committed = await task
    await distant.close()

    events = world.events()
    assert committed.position == len(events)
    assert isinstance(events[-1], CreditsGranted)
    assert (await load(world, stream_id)).balance.available_micro == 11 * MICRO_PER_CREDIT


async def test_a_database_that_is_gone_is_said_to_be_and_used_again_when_it_is_back(
    world: World, proxy: DatabaseProxy, migrated: DatabaseUrls
) -> None:
    distant = world.beside(migrated._replace(service=proxy.url))
    stream_id = account_id(await world.a_user())
    proxy.cut()

    with pytest.raises(LedgerUnavailable, match="cannot be reached"):
        async with asyncio.timeout(10):  # the connections' own limit is two seconds
            await distant.ledger.transact(
                lambda transaction: grant(distant, transaction, stream_id)
            )

    proxy.restore()
    state = await distant.ledger.load(ACCOUNT, stream_id)
    await distant.close()
    assert state is not None
    assert state.balance.available_micro == 10 * MICRO_PER_CREDIT
