"""An export is all of a list or an error, and never looks like the one while it is the other."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI, Request

from application.read_models import ReadModelsUnavailable, TransactionType, TransactionView
from interfaces.http.billing.protocol import TransactionWire
from interfaces.http.billing.transactions import csv_row
from interfaces.http.exports import EXPORT_PAGE_ROWS, CsvExport, ExportLimits, csv_lines
from interfaces.http.head import HeadAsGet
from interfaces.http.problems import install_problem_handlers
from tests.interfaces.http.problem import check_problem
from tests.support.api import Api, Person, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

CSV = {"format": "csv"}
ADA = UUID(int=1)


async def rows(person: Person, **query: Any) -> list[dict[str, str]]:
    response = await person.get("/billing/transactions", params=CSV | query)
    assert response.status_code == 200, response.text
    return list(csv.DictReader(io.StringIO(response.text)))


async def pages(person: Person, **query: Any) -> list[dict[str, Any]]:
    """All of the list as JSON, page by page."""
    items: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await person.get("/billing/transactions", params=query | cursor)).json()
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        cursor = {"cursor": page["next_cursor"]}


async def test_transactions_come_as_csv_with_the_same_digits(person: Person) -> None:
    await person.post("/billing/add", {"amount": "1.000001"})
    await person.say()

    response = await person.get("/billing/transactions", params=CSV)

    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert "transactions.csv" in response.headers["Content-Disposition"]
    found = list(csv.DictReader(io.StringIO(response.text)))
    assert [(row["type"], row["amount"], row["balance_after"]) for row in found] == [
        ("debit", "-2", "99.000001"),
        ("purchase", "1.000001", "101.000001"),
        ("grant", "100", "100"),
    ]
    assert found[1]["message_id"] == ""
    items = await pages(person)
    assert [row["created_at"] for row in found] == [item["created_at"] for item in items]


async def test_an_export_is_whole_however_many_pages_a_list_has(person: Person) -> None:
    packages = EXPORT_PAGE_ROWS // 2 + 5
    added = [person.post("/billing/add", {"package_id": "standard"}) for _ in range(packages)]
    positions = [int(r.headers["Ledger-Position"]) for r in await asyncio.gather(*added)]
    person.position = str(max(positions))

    found = await rows(person)

    items = await pages(person, limit=200)
    assert len(found) == 2 * packages + 1 > EXPORT_PAGE_ROWS
    assert [row["transaction_id"] for row in found] == [item["transaction_id"] for item in items]
    purchases = await rows(person, type="purchase")
    assert len(purchases) == packages
    since = items[EXPORT_PAGE_ROWS]["created_at"]
    assert len(await rows(person, since=since)) > EXPORT_PAGE_ROWS
    assert await rows(person, until=items[-1]["created_at"]) == []


async def test_an_export_says_up_to_which_position_it_goes(person: Person) -> None:
    written = int((await person.post("/billing/add", {"amount": 5})).headers["Ledger-Position"])

    response = await person.get("/billing/transactions", params=CSV)

    assert int(response.headers["Ledger-Position"]) >= written


@pytest.mark.parametrize("query", [{"limit": "10"}, {"cursor": "OTk"}])
async def test_an_export_has_no_pages(somebody: Person, query: dict[str, str]) -> None:
    response = await somebody.get("/billing/transactions", params=CSV | query)

    check_problem(response, 422, code="export_is_whole")


@pytest.mark.parametrize(
    "reason", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1"]
)
async def test_what_a_spreadsheet_would_run_is_text_and_amounts_stay_numbers(reason: str) -> None:
    view = TransactionView(
        position=1,
        transaction_id=ADA,
        type=TransactionType.GRANT,
        amount_micro=-2_500_000,
        balance_after_micro=0,
        message_id=None,
        description=reason,
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
    )

    [row] = csv.DictReader(
        io.StringIO(csv_lines([TransactionWire.model_fields, csv_row(view)]).decode(), newline="")
    )

    assert (row["amount"], row["balance_after"]) == ("-2.5", "0")
    assert row["description"] == f"'{reason}"


async def broken(pages_before: int) -> AsyncIterator[bytes]:
    for number in range(pages_before):
        yield csv_lines([["page", str(number)]])
    raise ReadModelsUnavailable("the database of the read models cannot be reached")


def exporting(api: Api, content: Any, limits: ExportLimits) -> AbstractAsyncContextManager[str]:
    """An export of the given pages, behind a socket; its base URL."""
    app = FastAPI()

    @app.get("/export")
    async def export(request: Request) -> CsvExport:
        return CsvExport(content(), limits=limits, owner=ADA, file_name="a.csv", headers={})

    install_problem_handlers(app)
    app.add_middleware(HeadAsGet)
    return serving(replace(api, app=app))


async def test_an_export_that_breaks_off_is_an_error_to_whoever_downloads_it(api: Api) -> None:
    limits = ExportLimits(per_user_max=1, timeout_s=60)

    async with (
        exporting(api, lambda: broken(3), limits) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        for _ in range(2):
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
                await client.get("/export")


async def test_an_export_that_takes_too_long_breaks_off(api: Api) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield csv_lines([["a"]])
        await asyncio.Event().wait()

    limits = ExportLimits(per_user_max=1, timeout_s=0.2)

    async with (
        exporting(api, slow, limits) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            await client.get("/export")


async def test_the_exports_of_one_user_at_once_are_bounded(api: Api) -> None:
    go_on = asyncio.Event()

    async def held() -> AsyncIterator[bytes]:
        yield csv_lines([["a"]])
        await go_on.wait()

    limits = ExportLimits(per_user_max=1, timeout_s=60)

    async with (
        exporting(api, held, limits) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        async with client.stream("GET", "/export") as first:
            assert first.status_code == 200
            second = await client.get("/export")
            assert (second.status_code, second.json()["code"]) == (429, "rate_limited")
            assert int(second.headers["Retry-After"]) > 0
            with limits.one(UUID(int=2)):
                pass  # somebody else's
            go_on.set()
            assert await first.aread() == b"a\r\n"
        assert (await client.get("/export")).status_code == 200


async def test_an_export_whose_client_left_is_over(api: Api) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield csv_lines([["a"] * 100])
                begun.set()
                await asyncio.sleep(0)
        finally:
            ended.set()

    limits = ExportLimits(per_user_max=1, timeout_s=60)

    async with exporting(api, endless, limits) as url:
        async with (
            httpx.AsyncClient(base_url=url) as client,
            client.stream("GET", "/export"),
        ):
            await begun.wait()
        async with asyncio.timeout(20):
            await ended.wait()


async def test_the_headers_of_an_export_come_without_reading_it(api: Api) -> None:
    limits = ExportLimits(per_user_max=1, timeout_s=60)

    async with (
        exporting(api, lambda: broken(0), limits) as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        response = await client.head("/export")

    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["Content-Disposition"] == 'attachment; filename="a.csv"'
