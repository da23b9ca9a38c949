"""Administrators suspend and reinstate users."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

import pytest

from application.administration.users import UserAdministration, UserStanding
from application.chat.answer import Answer
from application.ledger.idempotency import Outcome
from application.ledger.ledger import Ledger, LedgerLimits, Transaction
from domain.errors import (
    IdempotencyKeyReused,
    InvalidText,
    NotPermitted,
    SessionEnded,
    UserIsSuspended,
    UserNotFound,
)
from domain.users.events import UserReinstated, UserRole, UserSuspended
from infrastructure.event_store.recorder import open_application
from tests.application.users.test_users import register
from tests.application.world import (
    PASSWORD,
    World,
    an_order,
    outcome_of,
    settled,
    welcome_balance,
)
from tests.support.keys import LEDGER_KEYS
from tests.support.scripted_engine import Pause, script

T = TypeVar("T")


async def suspend(
    world: World, administrator_id: UUID, user_id: UUID, key: str = "k", reason: str = "abuse"
) -> Outcome[UserStanding]:
    order = an_order(administrator_id, key, reason=reason)
    return await world.user_administration.suspend(order, user_id=user_id)


async def reinstate(
    world: World, administrator_id: UUID, user_id: UUID, key: str = "k2"
) -> Outcome[UserStanding]:
    order = an_order(administrator_id, key)
    return await world.user_administration.reinstate(order, user_id=user_id)


async def test_a_suspended_user_is_out_at_once_in_every_process(world: World) -> None:
    other = world.beside()
    user, admin = await register(world), await world.an_admin()
    signed_in = await world.users.sign_in(login="ada", password=PASSWORD)
    # The other process knows the user and the session before they change.
    await other.users.principal(user_id=user.id, session_id=signed_in.session_id)

    outcome = await suspend(world, admin, user.id)

    for here in (world, other):
        with pytest.raises(UserIsSuspended):
            await here.users.sign_in(login="ada", password=PASSWORD)
        with pytest.raises(UserIsSuspended):
            await here.users.principal(user_id=user.id, session_id=signed_in.session_id)
        with pytest.raises(UserIsSuspended):
            await here.users.refresh(session_id=signed_in.session_id, generation=1)
    await other.close()
    assert outcome.result == UserStanding(user_id=user.id, suspended=True, reason="abuse")
    (event,) = (event for event in world.events() if isinstance(event, UserSuspended))
    assert (event.originator_id, event.reason, event.suspended_by) == (user.id, "abuse", admin)


async def test_a_reinstated_user_signs_in_again_and_the_sessions_from_before_stay_ended(
    world: World,
) -> None:
    user, admin = await register(world), await world.an_admin()
    before = await world.users.sign_in(login="ada", password=PASSWORD)
    await suspend(world, admin, user.id)
    world.clock.advance(hours=1)

    outcome = await reinstate(world, admin, user.id)
    world.clock.advance(seconds=1)

    after = await world.users.sign_in(login="ada", password=PASSWORD)
    await world.users.principal(user_id=user.id, session_id=after.session_id)
    with pytest.raises(SessionEnded, match="a suspension ended this session"):
        await world.users.principal(user_id=user.id, session_id=before.session_id)
    with pytest.raises(SessionEnded, match="a suspension ended this session"):
        await world.users.refresh(session_id=before.session_id, generation=1)
    # The event has no field for the reason, so it stands in the result alone.
    assert outcome.result == UserStanding(user_id=user.id, suspended=False, reason="a slip")
    (event,) = (event for event in world.events() if isinstance(event, UserReinstated))
    assert event.reinstated_by == admin


async def test_nobody_signs_in_while_they_are_being_suspended(world: World) -> None:
    other = world.beside()
    user, admin = await register(world), await world.an_admin()

    signed_in, _ = await asyncio.gather(
        outcome_of(other.users.sign_in(login="ada", password=PASSWORD)),
        suspend(world, admin, user.id),
    )

    # Whoever came first, the session is of no use.
    if not isinstance(signed_in, UserIsSuspended):
        with pytest.raises(UserIsSuspended):
            await other.users.principal(user_id=user.id, session_id=signed_in.session_id)
    await other.close()


async def test_an_answer_under_way_is_finished_and_paid_for(world: World) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()
    pause = Pause()
    world.scripted.script_next(script("Forty ", pause, "two."))
    run = await world.send(user_id)
    await pause.reached()

    await suspend(world, admin, user_id)
    pause.go_on()

    assert isinstance(await settled(run), Answer)
    assert await world.balance(user_id) == welcome_balance(8)


async def test_the_same_key_suspends_once_and_answers_the_same(world: World) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()

    first = await suspend(world, admin, user_id)
    await reinstate(world, admin, user_id)
    again = await suspend(world, admin, user_id)

    assert (again.result, again.replayed, again.position) == (first.result, True, None)
    assert sum(isinstance(event, UserSuspended) for event in world.events()) == 1


async def test_another_order_under_the_same_key_is_refused(world: World) -> None:
    first, second = await world.a_user(), await world.a_user()
    admin = await world.an_admin()
    await suspend(world, admin, first)

    with pytest.raises(IdempotencyKeyReused):
        await suspend(world, admin, second)
    with pytest.raises(IdempotencyKeyReused):
        await suspend(world, admin, first, reason="another reason")
    with pytest.raises(IdempotencyKeyReused):
        await reinstate(world, admin, first, key="k")


async def test_who_is_no_administrator_suspends_nobody_and_leaves_nothing_behind(
    world: World,
) -> None:
    user_id = await world.a_user()
    others = [
        await world.a_user(),
        await world.a_user(UserRole.AUDITOR),
        world.ids.new_id(),
    ]
    before = world.events()

    for other in others:
        with pytest.raises(NotPermitted):
            await suspend(world, other, user_id)
        with pytest.raises(NotPermitted):
            await reinstate(world, other, user_id)
    assert world.events() == before


async def test_a_suspended_administrator_gives_no_orders_and_hears_of_no_earlier_ones(
    world: World,
) -> None:
    first, second, user_id = await world.an_admin(), await world.an_admin(), await world.a_user()
    await suspend(world, first, user_id)
    await suspend(world, second, first, key="other")
    before = world.events()

    with pytest.raises(UserIsSuspended):
        await suspend(world, first, user_id)
    with pytest.raises(UserIsSuspended):
        await reinstate(world, first, first)
    assert world.events() == before


async def test_nobody_suspends_themselves(world: World) -> None:
    admin = await world.an_admin()

    with pytest.raises(NotPermitted, match="themselves"):
        await suspend(world, admin, admin)


async def test_of_two_administrators_who_suspend_each_other_at_once_one_is_left(
    world: World,
) -> None:
    other = world.beside()
    first, second = await world.an_admin(), await world.an_admin()

    outcomes = await asyncio.gather(
        outcome_of(suspend(world, first, second)), outcome_of(suspend(other, second, first))
    )
    await other.close()

    assert sorted(isinstance(outcome, UserIsSuspended) for outcome in outcomes) == [False, True]
    assert sum(isinstance(event, UserSuspended) for event in world.events()) == 1


class InterruptedLedger(Ledger):
    """Something happens after the first thing that is read of it."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def read(self, work: Callable[[Transaction], T]) -> T:
        value = await super().read(work)
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return value


async def test_who_is_suspended_between_the_check_of_the_right_and_the_commit_writes_nothing(
    world: World,
) -> None:
    first, second = await world.an_admin(), await world.an_admin()
    application = open_application(
        world.urls.service, LEDGER_KEYS, threads=2, connect_timeout_s=2, cached_streams_max=100
    )
    interrupted = InterruptedLedger(application, world.clock, LedgerLimits())
    interrupted.meanwhile = lambda: suspend(world, second, first)
    administration = UserAdministration(ledger=interrupted, clock=world.clock)

    with pytest.raises(UserIsSuspended):
        await administration.suspend(an_order(first, "k"), user_id=second)
    await interrupted.aclose()

    (event,) = (event for event in world.events() if isinstance(event, UserSuspended))
    assert event.originator_id == first


async def test_an_order_about_nobody_or_about_something_else_is_refused(world: World) -> None:
    admin = await world.an_admin()
    answer = await world.ask(await world.a_user())

    for stranger in (world.ids.new_id(), answer.conversation_id):
        with pytest.raises(UserNotFound):
            await suspend(world, admin, stranger)
        with pytest.raises(UserNotFound):
            await reinstate(world, admin, stranger)


@pytest.mark.parametrize("reason", ["", "\u200b", "two\nlines", "x" * 201, "\ud800"])
async def test_an_order_says_why(world: World, reason: str) -> None:
    admin, user_id = await world.an_admin(), await world.a_user()
    order = an_order(admin, "k", reason=reason)

    with pytest.raises(InvalidText, match="reason"):
        await world.user_administration.suspend(order, user_id=user_id)
    with pytest.raises(InvalidText, match="reason"):
        await world.user_administration.reinstate(order, user_id=user_id)
