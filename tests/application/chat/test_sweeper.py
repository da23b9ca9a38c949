"""Holds that were left behind go back, and a capture and an expiry never both win."""

import asyncio
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest
import structlog

from application.chat.answer import Answer, GenerationFailed
from application.ledger.ledger import Transaction
from application.ledger.streams import ACCOUNT
from domain.accounts.commands import GrantCredits
from domain.accounts.decider import decide
from domain.accounts.events import CreditsDebited, GrantExpired, HoldReleased
from domain.claims.idempotency import CommandAbandoned
from domain.conversations.events import ResponseFailed
from domain.credits import MICRO_PER_CREDIT
from domain.identifiers import account_id
from tests.application.world import World, outcome_of
from tests.support.scripted_engine import Pause, script


def forge_expired(world: World, count: int) -> None:
    """Rows of holds and grants that no account has, which come before every other."""
    with psycopg.connect(world.urls.service) as connection:
        for table, columns in (
            ("open_holds", "account_id, hold_id, user_id, conversation_id, message_id"),
            ("expiring_grants", "account_id, grant_id"),
        ):
            ids = ", ".join(["gen_random_uuid()"] * (columns.count(",") + 1))
            amount = "amount_micro" if table == "open_holds" else "unspent_micro"
            connection.execute(
                f"INSERT INTO read.{table} ({columns}, {amount}, expires_at)"
                f" SELECT {ids}, 1, '-infinity' FROM generate_series(1, {count})".encode()
            )


async def grant_for_a_day(world: World, user_id: UUID) -> None:
    def work(transaction: Transaction) -> None:
        grant = GrantCredits(
            grant_id=world.ids.new_id(),
            amount_micro=5 * MICRO_PER_CREDIT,
            expires_at=world.clock.now() + timedelta(days=1),
            reason="test",
            granted_by=None,
        )
        account = transaction.load(ACCOUNT, account_id(user_id))
        transaction.add(ACCOUNT, *decide(grant, account, world.clock.now()))

    await world.ledger.transact(work)


async def test_a_hold_whose_time_has_passed_goes_back_with_its_message_and_key(
    world: World,
) -> None:
    user_id = await world.a_user()
    pause = Pause()
    world.scripted.script_next(script("Forty ", pause, "two."))
    run = await world.send(user_id, key="k")
    await pause.reached()
    assert await world.sweep() == 0, "its time has not passed yet"
    world.clock.advance(seconds=61)

    assert await world.sweep() == 1

    released, failed, abandoned = world.events()[-3:]
    assert isinstance(released, HoldReleased)
    assert isinstance(failed, ResponseFailed)
    assert isinstance(abandoned, CommandAbandoned)
    assert {released.reason, failed.reason, abandoned.reason} == {"expired"}
    assert (await world.balance(user_id)).available_micro == 10 * MICRO_PER_CREDIT
    pause.go_on()
    await run.ended()


async def test_an_answer_after_the_sweep_is_not_delivered_and_not_charged(world: World) -> None:
    user_id = await world.a_user()
    pause = Pause()
    world.scripted.script_next(script("Forty ", pause, "two."))
    run = await world.send(user_id)
    await pause.reached()
    world.clock.advance(seconds=61)
    assert await world.sweep() == 1

    pause.go_on()
    error = await outcome_of(run.answer())

    assert isinstance(error, GenerationFailed)
    assert error.reason == "expired"
    assert not any(isinstance(event, CreditsDebited) for event in world.events())
    assert (await world.balance(user_id)).available_micro == 10 * MICRO_PER_CREDIT


async def test_a_sweep_after_the_answer_finds_nothing_even_with_read_models_that_are_behind(
    world: World,
) -> None:
    user_id = await world.a_user()
    pause = Pause()
    world.scripted.script_next(script("Forty ", pause, "two."))
    run = await world.send(user_id)
    await pause.reached()
    world.clock.advance(seconds=61)
    await world.project()
    pause.go_on()
    assert isinstance(await run.answer(), Answer)

    assert await world.sweep_as_projected() == 0

    assert (await world.balance(user_id)).available_micro == 8 * MICRO_PER_CREDIT


async def test_a_forged_row_ends_nobody_elses_message_and_keeps_no_message_open(
    world: World,
) -> None:
    """Whoever can write read models lets one's own hold that has expired name another's message."""
    one, other = await world.a_user(), await world.a_user()
    left, running = Pause(), Pause()
    world.scripted.script_next(script("Left ", left, "."))
    abandoned = await world.send(one)
    await left.reached()
    world.clock.advance(seconds=61)
    world.scripted.script_next(script("Still ", running, "here."))
    run = await world.send(other, key="k")
    await running.reached()
    await world.project()
    with psycopg.connect(world.urls.service) as connection:
        connection.execute(
            "UPDATE read.open_holds SET (conversation_id, message_id) = (SELECT conversation_id,"
            " message_id FROM read.open_holds WHERE user_id = %s) WHERE user_id = %s",
            (other, one),
        )

    assert await world.sweep_as_projected() == 1

    failed = [event for event in world.events() if isinstance(event, ResponseFailed)]
    assert [event.response_id for event in failed] == [abandoned.started.message_id]
    running.go_on()
    assert isinstance(await run.answer(), Answer)
    left.go_on()
    await abandoned.ended()


async def test_forged_rows_of_accounts_that_are_not_there_are_one_line_in_the_log(
    world: World,
) -> None:
    await world.a_user()
    await world.project()
    forge_expired(world, 50)

    with structlog.testing.capture_logs() as logs:
        assert await world.sweep_as_projected() == 0

    (line,) = logs
    assert (line["event"], line["count"]) == ("not_swept", 100)


@pytest.mark.parametrize(("pages_max", "rounds"), [(4, 1), (1, 4)])
async def test_forged_rows_that_fill_pages_keep_no_hold_and_no_grant_waiting(
    world: World, pages_max: int, rounds: int
) -> None:
    user_id, other = await world.a_user(), await world.a_user()
    await grant_for_a_day(world, other)
    pause = Pause()
    world.scripted.script_next(script("Left ", pause, "."))
    run = await world.send(user_id)
    await pause.reached()
    world.clock.advance(days=2)
    await world.project()
    forge_expired(world, 30)

    with structlog.testing.capture_logs() as logs:
        released = await world.sweep_as_projected(rounds, batch_max=10, pages_max=pages_max)

    assert released == 1
    assert sum(isinstance(event, GrantExpired) for event in world.events()) == 1
    said = [line["count"] for line in logs if line["event"] == "not_swept"]
    assert sum(said) == 60
    assert len(said) <= rounds
    pause.go_on()
    await run.ended()


async def test_a_failure_after_the_sweep_is_still_told_as_a_failure(world: World) -> None:
    user_id = await world.a_user()
    pause = Pause()
    world.scripted.script_next(script(pause, ""))
    run = await world.send(user_id)
    await pause.reached()
    world.clock.advance(seconds=61)
    await world.sweep()

    pause.go_on()
    error = await outcome_of(run.answer())

    assert isinstance(error, GenerationFailed)


async def test_after_the_sweep_the_message_may_be_sent_again_under_its_key(world: World) -> None:
    user_id = await world.a_user()
    pause = Pause()
    world.scripted.script_next(script("Forty ", pause, "two."))
    run = await world.send(user_id, key="k")
    await pause.reached()
    world.clock.advance(seconds=61)
    await world.sweep()

    again = await world.ask(user_id, key="k")
    pause.go_on()
    late = await outcome_of(run.answer())

    assert not again.replayed
    assert isinstance(late, GenerationFailed)
    assert (await world.ask(user_id, key="k")).message_id == again.message_id
    assert (await world.balance(user_id)).available_micro == 8 * MICRO_PER_CREDIT


async def test_a_second_sweep_has_nothing_left_to_do(world: World) -> None:
    user_id = await world.a_user()
    pauses = [Pause() for _ in range(3)]
    world.scripted.script_next(*(script(pause, "Late.") for pause in pauses))
    runs = [await world.send(user_id) for _ in pauses]
    for pause in pauses:
        await pause.reached()
    world.clock.advance(seconds=61)

    assert await world.sweep() == 3
    assert await world.sweep() == 0

    await world.chat.close()
    assert all([isinstance(await outcome_of(run.answer()), GenerationFailed) for run in runs])


@pytest.mark.parametrize("spent_first", [False, True])
async def test_what_is_left_of_a_grant_goes_when_its_time_has_passed(
    world: World, spent_first: bool
) -> None:
    user_id = await world.a_user()
    await grant_for_a_day(world, user_id)
    if spent_first:
        await world.ask(user_id)
    world.clock.advance(days=2)

    await world.sweep()

    expired = world.events()[-1]
    assert isinstance(expired, GrantExpired)
    assert expired.amount_micro == (3 if spent_first else 5) * MICRO_PER_CREDIT
    assert (await world.balance(user_id)).available_micro == 10 * MICRO_PER_CREDIT


async def test_of_captures_and_expiries_at_the_same_moment_each_hold_sees_one(
    world: World,
) -> None:
    other = world.beside()
    user_id = await world.a_user()
    pauses = [Pause() for _ in range(5)]
    world.scripted.script_next(*(script("Forty ", pause, "two.") for pause in pauses))
    runs = [await world.send(user_id) for _ in pauses]
    for pause in pauses:
        await pause.reached()
    world.clock.advance(seconds=61)
    await world.project()

    sweeping = asyncio.create_task(other.sweep_as_projected())
    for pause in pauses:
        pause.go_on()
        await asyncio.sleep(0)
    outcomes = [await outcome_of(run.answer()) for run in runs]
    released = await sweeping
    await other.close()

    answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    expired = [outcome for outcome in outcomes if isinstance(outcome, GenerationFailed)]
    assert (len(answers), len(expired)) == (5 - released, released)
    left = (await world.balance(user_id)).available_micro
    assert left == (10 - 2 * len(answers)) * MICRO_PER_CREDIT
