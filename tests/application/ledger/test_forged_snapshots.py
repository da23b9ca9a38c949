"""A snapshot only saves time: one that does not prove itself changes nothing of what is loaded."""

from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

import pytest
from eventsourcing.persistence import StoredEvent

from application.ledger.snapshots import take_snapshot
from application.ledger.streams import ACCOUNT, USER
from domain.accounts.state import AccountState
from domain.credits import MICRO_PER_CREDIT
from domain.identifiers import account_id
from domain.users.events import UserRole
from tests.application.world import World, welcome_balance
from tests.support.forging import OTHER_KEYS, Forger, bare, made, with_state
from tests.support.keys import LEDGER_KEYS

SNAPSHOTS = "ledger_snapshots"


@pytest.fixture
def forger(world: World) -> Forger:
    return Forger(world.urls)


@pytest.fixture
async def restarted(world: World) -> AsyncIterator[World]:
    """Another process, with nothing in memory."""
    opened = world.beside()
    yield opened
    await opened.close()


async def account_of(world: World, user_id: UUID) -> AccountState:
    state = await world.ledger.load(ACCOUNT, account_id(user_id))
    assert state is not None
    return state


def rich(state: AccountState, later: int = 0) -> AccountState:
    (bucket,) = state.buckets
    return replace(
        state,
        version=state.version + later,
        buckets=(replace(bucket, free_micro=10**12 * MICRO_PER_CREDIT),),
    )


@pytest.mark.parametrize("later", [0, 1, 10**6], ids=["as of now", "of the next", "of years"])
async def test_a_snapshot_makes_no_credits(
    world: World, restarted: World, forger: Forger, later: int
) -> None:
    user_id = await world.a_user()
    state = rich(await account_of(world, user_id), later)
    snapshot = take_snapshot(ACCOUNT, state, world.clock.now())
    forged = made(snapshot, OTHER_KEYS)
    forger.insert(with_state(forged, bare(forged)) if later else forged, table=SNAPSHOTS)

    assert await restarted.balance(user_id) == welcome_balance(10)
    await restarted.ask(user_id)
    assert await restarted.balance(user_id) == welcome_balance(8)


async def test_a_snapshot_makes_no_administrator(
    world: World, restarted: World, forger: Forger
) -> None:
    user_id = await world.a_user()
    user = await world.ledger.load(USER, user_id)
    assert user is not None
    for version in (user.version, user.version + 1):
        admin = replace(user, role=UserRole.ADMIN, version=version)
        forger.insert(made(take_snapshot(USER, admin, world.clock.now())), table=SNAPSHOTS)

    loaded = await restarted.ledger.load(USER, user_id)
    assert loaded == user


async def test_a_snapshot_of_another_stream_or_version_proves_nothing(
    world: World, restarted: World, forger: Forger
) -> None:
    """Also one that the ledger has made itself."""
    giver, taker = await world.a_user(), await world.a_user()
    await world.accounts.purchase(
        user_id=giver,
        amount_micro=10**6 * MICRO_PER_CREDIT,
        bonus_micro=0,
        package_id=None,
        development=True,
        key=None,
    )
    given = await account_of(world, giver)
    right = made(take_snapshot(ACCOUNT, given, world.clock.now()), LEDGER_KEYS)
    taken = await account_of(world, taker)
    forger.insert(
        StoredEvent(taken.id, taken.version, right.topic, right.state),
        StoredEvent(account_id(giver), right.originator_version + 1, right.topic, right.state),
        table=SNAPSHOTS,
    )
    assert await restarted.balance(taker) == welcome_balance(10)
    assert await restarted.balance(giver) == await world.balance(giver)


async def test_an_event_is_no_snapshot(world: World, restarted: World, forger: Forger) -> None:
    user_id = await world.a_user()
    (*_, last) = forger.stored(account_id(user_id))
    forger.insert(last, table=SNAPSHOTS)
    assert await restarted.balance(user_id) == welcome_balance(10)


async def test_a_right_one_behind_forged_ones_is_used(
    world: World, restarted: World, forger: Forger, capsys: pytest.CaptureFixture[str]
) -> None:
    user_id = await world.a_user()
    state = await account_of(world, user_id)
    # What no event says shows that the snapshot was loaded.
    marked = replace(state, frozen=True)
    forger.insert(
        made(take_snapshot(ACCOUNT, marked, world.clock.now()), LEDGER_KEYS),
        made(take_snapshot(ACCOUNT, rich(state, 1), world.clock.now())),
        made(take_snapshot(ACCOUNT, rich(state, 2), world.clock.now())),
        table=SNAPSHOTS,
    )
    for _ in range(2):
        assert restarted.application.load(ACCOUNT, state.id) == marked
    told = capsys.readouterr().out
    assert told.count("snapshot_not_used") == 1
    assert str(state.id) in told
