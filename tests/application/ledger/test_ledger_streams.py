"""How streams are read: from snapshots, from the cache, as of a time, and by their own kind."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from application.ledger.ledger import Transaction
from application.ledger.streams import ACCOUNT, StreamKind
from domain.credits import MICRO_PER_CREDIT
from domain.identifiers import account_id
from tests.application.ledger.spending import grant, load
from tests.application.world import World

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def counting(kind: StreamKind[Any], folded: list[object]) -> StreamKind[Any]:
    def evolve(state: Any, event: Any) -> Any:
        folded.append(event)
        return kind.evolve(state, event)

    return replace(kind, evolve=evolve)


async def with_long_history(world: World, events: int) -> UUID:
    stream_id = account_id(await world.a_user())

    def work(transaction: Transaction) -> None:
        for _ in range(events):
            grant(world, transaction, stream_id)

    await world.ledger.transact(work)
    return stream_id


async def test_a_long_stream_is_read_from_its_snapshot(world: World) -> None:
    stream_id = await with_long_history(world, 120)
    await world.ledger.transact(lambda transaction: grant(world, transaction, stream_id))
    other = world.beside()
    folded: list[object] = []

    state = await other.ledger.load(counting(ACCOUNT, folded), stream_id)
    await other.close()

    assert len(folded) == 1
    assert state == await load(world, stream_id)


async def test_a_snapshot_of_an_older_form_of_the_state_is_not_believed(world: World) -> None:
    stream_id = await with_long_history(world, 120)
    other = world.beside()
    folded: list[object] = []

    newer = replace(counting(ACCOUNT, folded), state_version=ACCOUNT.state_version + 1)
    state = await other.ledger.load(newer, stream_id)
    await other.close()

    assert len(folded) == 122
    assert state == await load(world, stream_id)


async def test_a_cached_state_moves_on_by_what_another_process_wrote(world: World) -> None:
    other = world.beside()
    stream_id = account_id(await world.a_user())
    await load(world, stream_id)
    await other.ledger.transact(lambda transaction: grant(other, transaction, stream_id))
    await other.close()

    assert (await load(world, stream_id)).balance.available_micro == 11 * MICRO_PER_CREDIT


async def test_a_state_of_the_past_holds_what_had_happened_by_then(world: World) -> None:
    stream_id = account_id(await world.a_user())
    registered_at = world.clock.now()
    world.clock.advance(hours=1)
    await world.ledger.transact(lambda transaction: grant(world, transaction, stream_id))

    then = await world.ledger.load_at(ACCOUNT, stream_id, registered_at)
    before = await world.ledger.load_at(ACCOUNT, stream_id, NOW.replace(year=2000))

    assert then is not None
    assert then.balance.available_micro == 10 * MICRO_PER_CREDIT
    assert before is None


async def test_the_id_of_another_kind_of_stream_has_no_state_of_this_kind(world: World) -> None:
    user_id = await world.a_user()

    assert await world.ledger.load(ACCOUNT, user_id) is None
    cold = world.beside()
    assert await cold.ledger.load(ACCOUNT, user_id) is None
    await cold.close()
