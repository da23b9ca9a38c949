"""Wire models of billing."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, model_validator

from application.read_models import ReceiptStatus, TransactionType
from interfaces.http.billing.proof import ProofWire
from interfaces.http.chat.protocol import BalanceWire, PriceWire
from interfaces.http.fields import AmountMicro, Credits, Line, WireModel


class BalanceResponse(WireModel):
    """available = paid + promotional. as_of: the latest event in it."""

    available: Credits
    held: Credits
    paid: Credits
    promotional: Credits
    as_of: datetime


class PackageWire(WireModel):
    """price: in the currency's units, as a decimal text."""

    package_id: str
    title: str
    credits: Credits
    bonus: Credits
    price: str
    currency: str


class CustomAmountWire(WireModel):
    amount_min: Credits
    amount_max: Credits


class PackagesResponse(WireModel):
    """development: credits are added at once and nothing is paid."""

    items: list[PackageWire]
    custom: CustomAmountWire
    development: bool


class AddCreditsRequest(WireModel):
    """Either a package or an amount of credits."""

    package_id: Annotated[Line, Field(max_length=100)] | None = None
    amount: AmountMicro | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.package_id is None) == (self.amount is None):
            raise ValueError("send either package_id or amount")
        return self


class AddCreditsResponse(WireModel):
    transaction_id: UUID
    credited: Credits
    bonus: Credits
    balance: BalanceWire
    development: bool


class TransactionWire(WireModel):
    """amount: below zero when credits went away. balance_after: with held credits."""

    transaction_id: UUID
    type: TransactionType
    amount: Credits
    balance_after: Credits
    message_id: UUID | None
    description: str
    created_at: datetime


class ReceiptWire(WireModel):
    """What one answer cost, and why: held = charged + released. The positions name the events in
    the log that say so, and the proof has them; manifest_hash names the exact weights, and
    computed_on the build and class of processor: on another one the same weights may say other
    words."""

    message_id: UUID
    conversation_id: UUID
    status: ReceiptStatus
    reason: str | None
    model: str | None
    manifest_hash: str | None
    # None in a receipt of an earlier version.
    computed_on: str | None = None
    price: PriceWire | None
    price_version: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    finish_reason: str | None
    hold_id: UUID
    held: Credits
    charged: Credits
    released: Credits
    refunded: Credits
    held_at: datetime
    settled_at: datetime | None
    hold_position: int
    settlement_position: int | None
    response_position: int | None
    proof: ProofWire


def price_text(price_cents: int) -> str:
    return str(Decimal(price_cents).scaleb(-2))
