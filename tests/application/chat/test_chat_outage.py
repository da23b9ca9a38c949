"""The database goes away while an answer is under way: nothing is paid twice, and nothing is said
to be free that was paid for."""

import asyncio

import pytest

from application.chat.answer import Answer
from application.chat.run import ChatRun
from application.ledger.ledger import LedgerUnavailable
from domain.accounts.events import CreditsDebited
from domain.credits import MICRO_PER_CREDIT
from tests.application.world import World, outcome_of
from tests.support.database_proxy import DatabaseProxy
from tests.support.scripted_engine import Pause, script


def behind(world: World, proxy: DatabaseProxy) -> World:
    """Another process, whose database is behind the proxy."""
    return world.beside(world.urls._replace(service=proxy.url))


async def begun(world: World, distant: World, key: str | None = None) -> tuple[ChatRun, Pause]:
    user_id = await world.a_user()
    pause = Pause()
    distant.scripted.script_next(script("Forty ", pause, "two."))
    run = await distant.send(user_id, key=key)
    await pause.reached()
    return run, pause


async def test_an_answer_waits_for_a_database_that_is_away_for_a_moment(
    world: World, proxy: DatabaseProxy
) -> None:
    distant = behind(world, proxy)
    run, pause = await begun(world, distant)

    proxy.cut()
    pause.go_on()
    await asyncio.sleep(0.5)
    proxy.restore()
    answer = await outcome_of(run.answer())
    await distant.close()

    assert isinstance(answer, Answer)
    assert (await world.balance(run.started.user_id)).available_micro == 8 * MICRO_PER_CREDIT


@pytest.mark.parametrize("away_s", [0.0, 3.0])
async def test_an_answer_whose_commit_is_in_doubt_is_delivered_as_it_was_committed(
    world: World, proxy: DatabaseProxy, away_s: float
) -> None:
    """0 s: the recorder's own retry finds it; 3 s: longer than the recorder waits."""
    distant = behind(world, proxy)
    run, pause = await begun(world, distant, key="k")

    proxy.cut_at_next_commit()
    pause.go_on()
    await asyncio.to_thread(proxy.commit_lost.wait, 20)
    await asyncio.sleep(away_s)
    proxy.restore()
    answer = await outcome_of(run.answer())
    await distant.close()

    assert isinstance(answer, Answer)
    assert (answer.response, answer.position) == ("Forty two.", len(world.events()))
    assert sum(isinstance(event, CreditsDebited) for event in world.events()) == 1
    replay = await world.ask(run.started.user_id, key="k")
    assert replay.message_id == answer.message_id


async def test_an_answer_that_cannot_be_paid_for_is_not_delivered_and_its_hold_expires(
    world: World, proxy: DatabaseProxy
) -> None:
    distant = behind(world, proxy)
    run, pause = await begun(world, distant)

    proxy.cut()
    pause.go_on()
    error = await outcome_of(run.answer())
    proxy.restore()
    await distant.close()

    assert isinstance(error, LedgerUnavailable)
    user_id = run.started.user_id
    assert (await world.balance(user_id)).held_micro == 2 * MICRO_PER_CREDIT
    world.clock.advance(seconds=61)
    assert await world.sweep() == 1
    assert (await world.balance(user_id)).available_micro == 10 * MICRO_PER_CREDIT


async def test_a_message_whose_first_commit_is_in_doubt_may_be_sent_again_under_its_key(
    world: World, proxy: DatabaseProxy
) -> None:
    distant = behind(world, proxy)
    user_id = await world.a_user()
    asked = asyncio.create_task(outcome_of(distant.ask(user_id, key="k")))
    proxy.cut_at_next_commit()
    await asyncio.to_thread(proxy.commit_lost.wait, 20)
    error = await asked
    proxy.restore()

    assert isinstance(error, LedgerUnavailable)
    world.clock.advance(seconds=61)
    assert await world.sweep() == 1
    answer = await distant.ask(user_id, key="k")
    await distant.close()
    assert not answer.replayed
    assert (await world.balance(user_id)).available_micro == 8 * MICRO_PER_CREDIT
