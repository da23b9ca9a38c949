"""Every read model is compared row for row, while writes and queries go on."""

import asyncio

from infrastructure.read_models.rebuild.rebuild import RebuildInProgress, rebuild
from projections.registry import PROJECTIONS
from tests.infrastructure.proofs.verify.books import Books
from tests.projections.random_history import RandomHistory
from tests.support.keys import EVENT_MACS

TABLES = [table for projection in PROJECTIONS for table in projection.tables]


# A column of each table, and what it is changed to.
CHANGES = {
    "balances": "paid_micro = paid_micro + 1",
    "transactions": "amount_micro = amount_micro + 1",
    "journal": "amount_micro = amount_micro + 1",
    "open_holds": "amount_micro = amount_micro + 1",
    "expiring_grants": "unspent_micro = unspent_micro + 1",
    "conversations": "message_count = message_count + 1",
    "messages": "position = position + 1",
    "receipts": "charged_micro = charged_micro + 1",
    "usage": "charged_micro = charged_micro + 1",
    "users": "suspended = NOT suspended",
}
# What makes a copy of a row a row of its own.
OTHER_KEYS = {
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
}


def first_row(table: str) -> str:
    return f"ctid = (SELECT min(ctid) FROM read.{table})"


async def named(books: Books, text: str) -> None:
    """One row of every table differs and is named; afterwards nothing differs any more."""
    found = await books.differences()

    assert found.keys() == {f"read.{table}" for table in TABLES}
    for part, differences in found.items():
        assert len(differences) == 1, differences
        assert text in differences[0].text, differences
        assert f" of {part} " in differences[0].text
        assert differences[0].row
    await rebuild([], books.urls.service, lambda _: None, macs=EVENT_MACS)


async def test_rows_that_were_changed_removed_or_added_are_named(books: Books) -> None:
    books.tamper(
        *(f"UPDATE read.{table} SET {CHANGES[table]} WHERE {first_row(table)}" for table in TABLES)
    )
    found = await books.differences()
    for table in TABLES:
        column = CHANGES[table].partition(" ")[0]
        assert f"{column} is" in found[f"read.{table}"][0].text
    await named(books, "was changed")

    books.tamper(*(f"DELETE FROM read.{table} WHERE {first_row(table)}" for table in TABLES))
    await named(books, "is missing")

    books.tamper(*(statement for table in TABLES for statement in copied(table)))
    await named(books, "comes from no event")
    assert await books.differences() == {}


def copied(table: str) -> list[str]:
    return [
        f"CREATE TEMP TABLE copied_{table} AS SELECT * FROM read.{table} LIMIT 1",
        f"UPDATE copied_{table} SET {OTHER_KEYS[table]}",
        f"INSERT INTO read.{table} SELECT * FROM copied_{table}",
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
            rebuild([], books.urls.service, lambda _: None, macs=EVENT_MACS),
            books.verify(),
            return_exceptions=True,
        )
    errors = [result for result in done if isinstance(result, BaseException)]
    assert all(isinstance(error, RebuildInProgress) for error in errors)
    assert len(errors) < 2
    assert await books.differences() == {}
