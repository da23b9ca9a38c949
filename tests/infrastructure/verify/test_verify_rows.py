"""Every read model is compared row for row, while writes and queries go on."""

import asyncio

import pytest

from infrastructure.postgres.rebuild import RebuildInProgress, rebuild
from projections.registry import PROJECTIONS
from tests.infrastructure.verify.books import Books
from tests.projections.random_history import RandomHistory

TABLES = [table for projection in PROJECTIONS for table in projection.tables]


@pytest.mark.parametrize("table", TABLES)
async def test_rows_that_were_changed_removed_or_added_are_named(books: Books, table: str) -> None:
    column = {
        "balances": "paid_micro",
        "transactions": "amount_micro",
        "journal": "amount_micro",
        "open_holds": "amount_micro",
        "expiring_grants": "unspent_micro",
        "conversations": "message_count",
        "messages": "position",
        "receipts": "charged_micro",
        "usage": "charged_micro",
        "users": "suspended",
    }[table]
    change = f"NOT {column}" if table == "users" else f"{column} + 1"
    first = f"ctid = (SELECT min(ctid) FROM read.{table})"
    books.tamper(f"UPDATE read.{table} SET {column} = {change} WHERE {first}")
    changed = await books.differences()

    assert changed.keys() == {f"read.{table}"}
    assert f"{column} is" in changed[f"read.{table}"][0].text

    await rebuild([], books.urls.service, lambda _: None)
    books.tamper(f"DELETE FROM read.{table} WHERE {first}")
    removed = await books.differences()
    assert removed.keys() == {f"read.{table}"}
    assert "is missing" in removed[f"read.{table}"][0].text

    await rebuild([], books.urls.service, lambda _: None)
    books.tamper(*_copied(table))
    added = await books.differences()
    assert added.keys() == {f"read.{table}"}
    assert "comes from no event" in added[f"read.{table}"][0].text


def _copied(table: str) -> list[str]:
    """A row with another key."""
    key = {
        "balances": "user_id = gen_random_uuid()",
        "transactions": "position = 0",
        "journal": "line = 99",
        "open_holds": "hold_id = gen_random_uuid()",
        "expiring_grants": "grant_id = gen_random_uuid()",
        "conversations": "conversation_id = gen_random_uuid()",
        "messages": "message_id = gen_random_uuid()",
        "receipts": "message_id = gen_random_uuid()",
        "usage": "model = 'other'",
        "users": "user_id = gen_random_uuid()",
    }[table]
    return [
        f"CREATE TEMP TABLE copied AS SELECT * FROM read.{table} LIMIT 1",
        f"UPDATE copied SET {key}",
        f"INSERT INTO read.{table} SELECT * FROM copied",
    ]


async def test_verifying_goes_on_beside_writes_and_a_working_projector(books: Books) -> None:
    history = RandomHistory(74)

    async def write_and_project() -> None:
        for _ in range(20):
            await asyncio.to_thread(books.log.append, history.commits(3))
            await books.project()

    async def verify_again_and_again() -> list[int]:
        return [sum(part.findings.count for part in await books.verify()) for _ in range(3)]

    _, found = await asyncio.gather(write_and_project(), verify_again_and_again())
    assert found == [0, 0, 0]


async def test_a_rebuild_under_way_is_not_disturbed(books: Books) -> None:
    async with asyncio.timeout(30):
        done = await asyncio.gather(
            rebuild([], books.urls.service, lambda _: None),
            books.verify(),
            return_exceptions=True,
        )
    errors = [result for result in done if isinstance(result, BaseException)]
    assert all(isinstance(error, RebuildInProgress) for error in errors)
    assert len(errors) < 2
    assert await books.differences() == {}
