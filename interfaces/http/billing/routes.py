"""GET /billing/balance, packages, transactions, receipts; POST /billing/add."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response

from application.books.periods import check_period
from application.chat.price_list import AMOUNT_MICRO_ADDED_MAX, AMOUNT_MICRO_ADDED_MIN
from application.ledger.idempotency import idempotency_key
from application.read_models import TransactionType
from domain.credits import credits_decimal, format_credits
from domain.errors import InvalidAmount, InvalidInput, MessageNotFound, NotPermitted
from interfaces.http.billing.protocol import (
    AddCreditsRequest,
    AddCreditsResponse,
    BalanceResponse,
    CustomAmountWire,
    PackagesResponse,
    PackageWire,
    ReceiptWire,
    TransactionWire,
    price_text,
)
from interfaces.http.billing.receipts import receipt_wire
from interfaces.http.billing.transactions import (
    ExportIsWhole,
    transaction_wire,
    transactions_csv,
)
from interfaces.http.chat.protocol import BalanceWire
from interfaces.http.context import FreshReads, IdempotencyDep, PrincipalDep, ServicesDep
from interfaces.http.fields import Instant
from interfaces.http.paging import WirePage, decode_cursor, encode_cursor
from interfaces.http.problems import ServiceBusy
from interfaces.http.responses import json_response
from interfaces.http.routing import ExactRoute
from interfaces.http.services import HttpServices

router = APIRouter(prefix="/billing", tags=["billing"], route_class=ExactRoute)

_PAGE_ROWS = 50


class UnknownPackage(InvalidInput):
    code = "unknown_package"
    field = "package_id"


@router.get("/balance", response_model=BalanceResponse, dependencies=[FreshReads])
async def balance(services: ServicesDep, who: PrincipalDep, at: Instant | None = None) -> Response:
    """The balance now, or as it was at any time in the past."""
    if at is not None:
        past, time = await services.accounts.balance_at(user_id=who.user_id, at=at)
        return _balance(past.paid_micro, past.promotional_micro, past.held_micro, time)
    view = await services.read_models.balance(who.user_id)
    if view is None:
        raise ServiceBusy("read_model_behind", "the balance is not there yet; try again shortly")
    return _balance(view.paid_micro, view.promotional_micro, view.held_micro, view.as_of)


@router.get("/packages", response_model=PackagesResponse)
async def packages(services: ServicesDep) -> Response:
    items = [
        PackageWire(
            package_id=package.package_id,
            title=package.title,
            credits=credits_decimal(package.amount_micro),
            bonus=credits_decimal(package.bonus_micro),
            price=price_text(package.price_cents),
            currency=package.currency,
        )
        for package in services.price_list.packages
    ]
    custom = CustomAmountWire(
        amount_min=credits_decimal(AMOUNT_MICRO_ADDED_MIN),
        amount_max=credits_decimal(AMOUNT_MICRO_ADDED_MAX),
    )
    return json_response(
        PackagesResponse(items=items, custom=custom, development=services.development)
    )


@router.post("/add", status_code=201, response_model=AddCreditsResponse)
async def add_credits(
    body: AddCreditsRequest, services: ServicesDep, who: PrincipalDep, header: IdempotencyDep
) -> Response:
    """Adds credits at once, without payment: for development and trials only."""
    if not services.development:
        raise NotPermitted("credits are not given away in production; ask the administrator")
    amount_micro, bonus_micro = _amounts(body, services)
    outcome = await services.accounts.purchase(
        user_id=who.user_id,
        amount_micro=amount_micro,
        bonus_micro=bonus_micro,
        package_id=body.package_id,
        development=True,
        key=idempotency_key(
            who.user_id, header, "billing.add", package_id=body.package_id, amount=body.amount
        ),
    )
    result = outcome.result
    response = AddCreditsResponse(
        transaction_id=result.transaction_id,
        credited=credits_decimal(result.credited_micro),
        bonus=credits_decimal(result.bonus_micro),
        balance=BalanceWire(
            available=credits_decimal(result.available_micro),
            held=credits_decimal(result.held_micro),
        ),
        development=True,
    )
    return json_response(response, status=201, position=outcome.position, replayed=outcome.replayed)


@router.get(
    "/transactions",
    response_model=WirePage[TransactionWire],
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
    dependencies=[FreshReads],
)
async def transactions(
    *,
    services: ServicesDep,
    who: PrincipalDep,
    type: TransactionType | None = None,  # noqa: A002 - the parameter's name in the API
    since: Instant | None = None,
    until: Instant | None = None,
    format: Literal["json", "csv"] = "json",  # noqa: A002 - likewise
    limit: Annotated[int | None, Query(ge=1, le=200)] = None,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """What came and went, newest first, 50 a page where no limit is given. until is exclusive.
    With format=csv all of it at once, as of the Ledger-Position in the answer."""
    check_period(since, until)
    if format == "csv":
        if limit is not None or cursor is not None:
            raise ExportIsWhole("an export is whole; leave limit and cursor out, or ask for JSON")
        return await transactions_csv(
            services.read_models,
            services.export_limits,
            who.user_id,
            type=type,
            since=since,
            until=until,
        )
    page = await services.read_models.transactions(
        who.user_id,
        type=type,
        since=since,
        until=until,
        limit=_PAGE_ROWS if limit is None else limit,
        before=decode_cursor(cursor),
    )
    items = [transaction_wire(view) for view in page.items]
    return json_response(
        WirePage[TransactionWire](items=items, next_cursor=encode_cursor(page.next))
    )


@router.get("/receipts/{message_id}", response_model=ReceiptWire, dependencies=[FreshReads])
async def receipt(message_id: UUID, services: ServicesDep, who: PrincipalDep) -> Response:
    """Everything that explains what one answer cost, and what proves it without this service."""
    view = await services.read_models.receipt(who.user_id, message_id)
    if view is None:
        raise MessageNotFound("there is no receipt for such a message")
    return json_response(receipt_wire(view, await services.proofs.of_receipt(view)))


def _amounts(body: AddCreditsRequest, services: HttpServices) -> tuple[int, int]:
    if body.package_id is not None:
        package = services.price_list.package(body.package_id)
        if package is None:
            names = ", ".join(p.package_id for p in services.price_list.packages)
            raise UnknownPackage(f"there is no such package; choose one of {names}")
        return package.amount_micro, package.bonus_micro
    assert body.amount is not None
    if not AMOUNT_MICRO_ADDED_MIN <= body.amount <= AMOUNT_MICRO_ADDED_MAX:
        raise InvalidAmount(
            f"an amount must be between {format_credits(AMOUNT_MICRO_ADDED_MIN)} and"
            f" {format_credits(AMOUNT_MICRO_ADDED_MAX)} credits"
        )
    return body.amount, 0


def _balance(paid_micro: int, promotional_micro: int, held_micro: int, at: datetime) -> Response:
    return json_response(
        BalanceResponse(
            available=credits_decimal(paid_micro + promotional_micro),
            held=credits_decimal(held_micro),
            paid=credits_decimal(paid_micro),
            promotional=credits_decimal(promotional_micro),
            as_of=at,
        )
    )
