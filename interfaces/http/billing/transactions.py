"""A user's transactions, as a page of JSON or as a whole export."""

from collections.abc import AsyncIterator
from datetime import datetime
from functools import partial
from typing import Protocol
from uuid import UUID

from application.read_models import Page, ReadModels, TransactionType, TransactionView
from domain.credits import credits_decimal, format_credits
from domain.errors import InvalidInput
from infrastructure.exports.formats import spreadsheet_text
from interfaces.http.billing.protocol import TransactionWire
from interfaces.http.exports import EXPORT_PAGE_ROWS, CsvExport, ExportLimits, csv_lines
from interfaces.http.responses import POSITION_HEADER

_COLUMNS = tuple(TransactionWire.model_fields)


class ExportIsWhole(InvalidInput):
    code = "export_is_whole"


class _Pages(Protocol):
    async def __call__(self, *, before: int | None) -> Page[TransactionView]: ...


def transaction_wire(view: TransactionView) -> TransactionWire:
    return TransactionWire(
        transaction_id=view.transaction_id,
        type=view.type,
        amount=credits_decimal(view.amount_micro),
        balance_after=credits_decimal(view.balance_after_micro),
        message_id=view.message_id,
        description=view.description,
        created_at=view.created_at,
    )


async def transactions_csv(
    read_models: ReadModels,
    limits: ExportLimits,
    user_id: UUID,
    *,
    type: TransactionType | None,  # noqa: A002 - the parameter's name in the API
    since: datetime | None,
    until: datetime | None,
) -> CsvExport:
    """Every transaction up to one position of the log, which a header names: rows are only ever
    added, so what is written meanwhile changes nothing. Raises ReadModelsUnavailable."""
    position = (await read_models.positions())["transactions"]
    pages = partial(
        read_models.transactions,
        user_id,
        limit=EXPORT_PAGE_ROWS,
        position_max=position,
        type=type,
        since=since,
        until=until,
    )
    # Read before the answer begins, so that a database that is away is a refusal of its own.
    first = await pages(before=None)
    return CsvExport(
        _lines(first, pages),
        limits=limits,
        owner=user_id,
        file_name="transactions.csv",
        headers={POSITION_HEADER: str(position)},
    )


async def _lines(page: Page[TransactionView], pages: _Pages) -> AsyncIterator[bytes]:
    yield csv_lines([_COLUMNS])
    yield csv_lines(map(csv_row, page.items))
    while page.next is not None:
        page = await pages(before=page.next)
        yield csv_lines(map(csv_row, page.items))


def csv_row(view: TransactionView) -> list[str]:
    """Amounts are numbers, also where they begin with a minus; texts are never a formula."""
    row = transaction_wire(view).model_dump(mode="json") | {
        "amount": format_credits(view.amount_micro),
        "balance_after": format_credits(view.balance_after_micro),
        "description": spreadsheet_text(view.description),
    }
    return ["" if row[name] is None else str(row[name]) for name in _COLUMNS]
