"""The API's responses as the page reads them.

Credits arrive as JSON numbers with at most six decimals and become ``Decimal`` straight from
their digits. Fields that the page does not use are ignored, so the API may add to its responses.
"""

from decimal import Decimal
from typing import Any, Literal, TypeVar

import msgspec

from interfaces.exact_json import NotJson, read_json
from interfaces.ui.client.errors import ApiGarbled

Body = TypeVar("Body")


def read_response(text: str | bytes) -> Any:
    """Parse what the API sent. Raises ApiGarbled."""
    try:
        return read_json(text)
    except NotJson as error:
        raise ApiGarbled(f"The service sent something that {error}.") from error


def read_as(value: Any, kind: type[Body]) -> Body:
    """Convert parsed JSON to one of the classes below. Raises ApiGarbled."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ApiGarbled(f"The service's response is not as agreed: {error}") from error


class TokenPair(msgspec.Struct, frozen=True, kw_only=True):
    access_token: str
    refresh_token: str
    expires_in: int


class Person(msgspec.Struct, frozen=True, kw_only=True):
    username: str
    email: str = ""
    role: str = "user"


class PerMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="per_message"):
    credits: Decimal


class PerToken(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="per_token"):
    prompt_credits_per_1000: Decimal
    completion_credits_per_1000: Decimal


class Model(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    title: str
    state: str
    price: PerMessage | PerToken
    detail: str | None = None
    context_tokens: int = 0
    licence: str | None = None
    licence_url: str | None = None
    runs_on: str | None = None
    default: bool = False

    @property
    def is_usable(self) -> bool:
        """A prepared model loads with its first message; the others need an operator."""
        return self.state in {"ready", "loading", "prepared"}


class Models(msgspec.Struct, frozen=True, kw_only=True):
    items: list[Model]


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    conversation_id: str
    title: str
    updated_at: str
    model: str | None = None
    message_count: int = 0


class Conversations(msgspec.Struct, frozen=True, kw_only=True):
    items: list[Conversation]
    next_cursor: str | None = None


class HistoryItem(msgspec.Struct, frozen=True, kw_only=True):
    message_id: str
    conversation_id: str
    role: Literal["user", "assistant"]
    content: str | None
    created_at: str
    model: str | None = None
    cost: Decimal | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    status: str = "answered"
    finish_reason: str | None = None
    latency_ms: int | None = None
    turns_dropped: int | None = None


class History(msgspec.Struct, frozen=True, kw_only=True):
    items: list[HistoryItem]
    next_cursor: str | None = None


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    available: Decimal
    held: Decimal
    paid: Decimal | None = None
    promotional: Decimal | None = None


class Started(msgspec.Struct, frozen=True, kw_only=True):
    message_id: str
    conversation_id: str
    held: Decimal
    turns_dropped: int = 0


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    text: str


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    prompt_tokens: int
    completion_tokens: int


class Done(msgspec.Struct, frozen=True, kw_only=True):
    message_id: str
    conversation_id: str
    model: str
    response: str
    usage: Usage
    cost: Decimal
    balance: Balance
    finish_reason: str = "stop"
    latency_ms: int | None = None
    turns_dropped: int = 0


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    transaction_id: str
    type: str
    amount: Decimal
    balance_after: Decimal
    created_at: str
    description: str | None = None
    message_id: str | None = None


class Transactions(msgspec.Struct, frozen=True, kw_only=True):
    items: list[Transaction]
    next_cursor: str | None = None


class Package(msgspec.Struct, frozen=True, kw_only=True):
    package_id: str
    title: str
    credits: Decimal
    bonus: Decimal
    price: str
    currency: str


class CustomAmount(msgspec.Struct, frozen=True, kw_only=True):
    amount_min: Decimal
    amount_max: Decimal


class Packages(msgspec.Struct, frozen=True, kw_only=True):
    items: list[Package]
    custom: CustomAmount | None = None
    development: bool = False


class Added(msgspec.Struct, frozen=True, kw_only=True):
    transaction_id: str
    credited: Decimal
    bonus: Decimal
    balance: Balance
    development: bool = False
