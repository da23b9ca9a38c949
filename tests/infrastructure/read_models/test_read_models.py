import asyncio
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import AsyncConnection

from application.read_models import Page, ReadModelsUnavailable, ReceiptStatus
from infrastructure.log.reader import read_log
from infrastructure.read_models.position_board import PositionBoard
from infrastructure.read_models.queries import PostgresReadModels
from infrastructure.read_models.query_pool import ReadPoolLimits
from infrastructure.read_models.writer import ProjectionWriter
from projections.registry import PROJECTIONS
from tests.infrastructure.read_models.told import EVERYTHING, LIMITS, Told
from tests.projections.log import Log
from tests.projections.random_history import RandomHistory
from tests.support.keys import EVENT_MACS
from tests.support.servers import DatabaseUrls


async def test_a_balance_is_that_of_the_account(
    told: Told, read_models: PostgresReadModels
) -> None:
    for person in told.people:
        assert person.account is not None
        view = await read_models.balance(person.user_id)
        assert view is not None
        balance = person.account.balance
        assert (view.paid_micro, view.promotional_micro, view.held_micro) == (
            balance.paid_micro,
            balance.promotional_micro,
            balance.held_micro,
        )
        assert (view.available_micro, view.total_micro) == (
            balance.available_micro,
            balance.total_micro,
        )
        assert (view.account_id, view.frozen) == (person.account.id, person.account.frozen)
        assert view.as_of.utcoffset() == timedelta(0)


async def test_nobody_has_no_balance_no_transactions_and_no_history(
    told: Told, read_models: PostgresReadModels
) -> None:
    nobody = UUID(int=1)
    assert await read_models.balance(nobody) is None
    assert await read_models.transactions(nobody, limit=5) == Page(items=(), next=None)
    assert await read_models.conversations(nobody, limit=5) == Page(items=(), next=None)
    assert await read_models.history(nobody, limit=5) == Page(items=(), next=None)


async def test_another_users_receipt_is_not_found(
    told: Told, read_models: PostgresReadModels
) -> None:
    owner, other = told.people[0], told.people[1]
    row = told.rows("receipts", owner)[0]
    assert await read_models.receipt(owner.user_id, row["message_id"]) is not None
    assert await read_models.receipt(other.user_id, row["message_id"]) is None


async def test_a_receipt_explains_what_an_answer_cost(
    told: Told, read_models: PostgresReadModels
) -> None:
    statuses = set()
    for person in told.people:
        for row in told.rows("receipts", person):
            view = await read_models.receipt(person.user_id, row["message_id"])
            assert view is not None
            statuses.add(view.status)
            if view.status is ReceiptStatus.OPEN:
                assert view.price is None
                continue
            assert view.held_micro == view.charged_micro + view.released_micro
            if view.status is not ReceiptStatus.RELEASED:
                assert view.price is not None
                assert view.prompt_tokens is not None
                assert view.completion_tokens is not None
                assert view.charged_micro == view.price.cost_micro(
                    prompt_tokens=view.prompt_tokens, completion_tokens=view.completion_tokens
                )
                assert view.settlement_position is not None
                assert view.response_position is not None
                assert view.hold_position < view.settlement_position < view.response_position
    assert statuses == set(ReceiptStatus)


async def test_holds_and_grants_whose_time_has_passed_come_longest_expired_first(
    told: Told, read_models: PostgresReadModels
) -> None:
    accounts = [person.account for person in told.people if person.account is not None]
    later = told.history.now + timedelta(days=30)
    holds = await read_models.expired_holds(later, 100)
    expires_at = {
        (hold.hold_id, account.id): hold.expires_at
        for account in accounts
        for hold in account.holds
    }
    found = [(hold.hold_id, hold.account_id) for hold in holds]
    assert set(found) == set(expires_at)
    assert [expires_at[hold] for hold in found] == sorted(expires_at.values())
    assert await read_models.expired_holds(datetime.min.replace(tzinfo=later.tzinfo), 100) == ()
    assert await read_models.expired_holds(later, 1) == holds[:1]
    for hold, following in pairwise(holds):
        assert await read_models.expired_holds(later, 1, hold) == (following,)
    assert await read_models.expired_holds(later, 1, holds[-1]) == ()

    grants = await read_models.expired_grants(later, 100)
    assert await read_models.expired_grants(later, 100, grants[0]) == grants[1:]
    free = {
        bucket.bucket_id: bucket.free_micro
        for account in accounts
        for bucket in account.buckets
        if bucket.expires_at is not None
    }
    held = [share for account in accounts for hold in account.holds for share in hold.shares]
    for share in held:
        if share.expires_at is not None:
            free[share.bucket_id] = free.get(share.bucket_id, 0) + share.amount_micro
    assert {grant.grant_id: grant.unspent_micro for grant in grants} == free


async def test_positions_are_zero_before_anything_was_projected(
    event_log: Log, database: DatabaseUrls
) -> None:
    read_models = PostgresReadModels(database.service, LIMITS)
    await read_models.start()
    try:
        assert await read_models.positions() == {projection.name: 0 for projection in PROJECTIONS}
    finally:
        await read_models.stop()


async def test_waiting_ends_when_another_process_has_projected(
    event_log: Log, connection: AsyncConnection[Any], database: DatabaseUrls
) -> None:
    head = event_log.append(RandomHistory(32).commits(5))
    read_models = PostgresReadModels(database.service, LIMITS)
    await read_models.start()
    try:
        assert not await read_models.wait_for(head, timeout_s=0.05)
        waiting = asyncio.create_task(read_models.wait_for(head, timeout_s=10))
        writer = await ProjectionWriter.open(connection, PROJECTIONS, EVENT_MACS)
        await writer.write(await read_log(connection, after=0, bounds=EVERYTHING))

        assert await waiting
        assert await read_models.wait_for(head, timeout_s=0)
        assert not await read_models.wait_for(head + 1, timeout_s=0)
    finally:
        await read_models.stop()


async def test_waiting_ends_at_once_when_this_process_has_projected(
    database: DatabaseUrls, event_log: Log
) -> None:
    board = PositionBoard()
    board.leading = True
    read_models = PostgresReadModels(database.service, LIMITS, board)  # never started
    waiting = asyncio.create_task(read_models.wait_for(7, timeout_s=10))
    await asyncio.sleep(0)
    board.announce(6)
    await asyncio.sleep(0)
    assert not waiting.done()
    board.announce(7)
    assert await waiting


async def test_queries_go_on_after_their_connections_were_cut(
    database: DatabaseUrls, told: Told, read_models: PostgresReadModels
) -> None:
    assert await read_models.ping()
    with psycopg.connect(told.service_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
            " AND application_name = 'chatledger queries'"
        )
    assert await read_models.balance(told.people[0].user_id) is not None
    assert await read_models.ping()


async def test_a_database_that_is_away_is_said_to_be(database: DatabaseUrls) -> None:
    away = "postgresql://nobody@127.0.0.1:1/none"
    read_models = PostgresReadModels(
        away, ReadPoolLimits(connections_max=1, connection_timeout_s=0.2)
    )
    await read_models.start()
    try:
        with pytest.raises(ReadModelsUnavailable):
            await read_models.balance(UUID(int=1))
        assert not await read_models.ping()
        assert not await read_models.wait_for(1, timeout_s=0.1)
    finally:
        await read_models.stop()
