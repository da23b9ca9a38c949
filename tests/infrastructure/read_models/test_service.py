import asyncio
import random
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import structlog

from infrastructure.process.condition import Condition, State, describe, keep_running
from infrastructure.process.tasks import cancel_until_done
from tests.infrastructure.relay.running import Running, eventually
from tests.projections.log import Log
from tests.projections.random_history import RandomHistory


async def test_a_service_stops_at_any_moment_of_its_life(running: Running, event_log: Log) -> None:
    seed = 71
    draw = random.Random(seed)
    history = RandomHistory(seed)
    for _ in range(25):
        service = await running.start()
        writing = asyncio.create_task(asyncio.to_thread(event_log.append, history.commits(3)))
        await asyncio.wait([writing], timeout=draw.random() * 0.1)
        async with asyncio.timeout(10):
            await service.stop()
        await writing
        assert service.status().relay.state is State.STOPPED
        assert service.status().projector.state is State.STOPPED


async def test_a_task_that_lost_a_cancellation_ends_with_the_next() -> None:
    lost: list[int] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost.append(1)  # as asyncio.wait_for does when its result comes in the same turn
        await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await cancel_until_done([task])
    assert lost
    assert task.cancelled()


async def test_no_password_is_in_logs_or_health_whatever_is_away(
    running: Running, event_log: Log
) -> None:
    wrong = urlsplit(running.service_url)
    assert wrong.password is not None
    refused = urlunsplit(
        wrong._replace(netloc=wrong.netloc.replace(wrong.password, "database-secret"))
    )
    broken = Running(
        refused,
        running.nats_url.replace("nats-secret", "other-secret"),
        running.settings.stream,
        event_log,
    )
    with structlog.testing.capture_logs() as logs:
        try:
            service = await broken.start()

            def all_away() -> bool:
                status = service.status()
                parts = (status.relay, status.subscription, status.projector)
                return all(part.state is State.AWAY for part in parts)

            await eventually(all_away, "failing")
        finally:
            await broken.stop_all()
    said = str(logs) + str(service.status())
    assert "password authentication failed" in said
    for secret in ("database-secret", "other-secret", "nats-secret", wrong.password):
        assert secret not in said


async def test_a_failure_that_lasts_is_said_once_and_tried_again_and_again() -> None:
    condition = Condition("part")
    attempts = 0
    enough = asyncio.Event()

    async def session() -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 5:
            enough.set()
        raise ConnectionError("nobody there")

    with structlog.testing.capture_logs() as logs:
        task = asyncio.create_task(
            keep_running(session, condition, backoff_s_min=0.001, backoff_s_max=0.002)
        )
        await enough.wait()
        await cancel_until_done([task])
    assert [line["event"] for line in logs] == ["part_starting", "part_away", "part_stopped"]
    assert condition.last_error == "ConnectionError: nobody there"


async def test_what_a_server_says_of_rows_is_not_repeated(running: Running, event_log: Log) -> None:
    event_log.append(RandomHistory(73).commits(1))
    with (
        psycopg.connect(running.service_url) as connection,
        pytest.raises(psycopg.errors.UniqueViolation) as caught,
    ):
        connection.execute(
            "INSERT INTO ledger.ledger_events (originator_id, originator_version, topic, state)"
            " SELECT originator_id, originator_version, topic, state FROM ledger.ledger_events"
            " ORDER BY notification_id LIMIT 1"
        )
    value = str(event_log.events[0][1].originator_id)
    assert value in str(caught.value)
    assert describe(caught.value).startswith("UniqueViolation: duplicate key value")
    assert value not in describe(caught.value)
