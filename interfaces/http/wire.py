"""How values look on the wire: credits as exact decimals, times as RFC 3339 in UTC, pages with a
cursor."""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Coroutine
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from fastapi import Request, Response, params
from fastapi.routing import APIRoute
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainValidator,
    WithJsonSchema,
)
from starlette.exceptions import HTTPException

from domain.credits import credits_decimal, parse_credits
from domain.errors import InvalidAmount, InvalidInput
from interfaces.http.query import check_query, query_names
from interfaces.moments import INSTANT_FORM, parse_instant

T = TypeVar("T")

_encoder = msgspec.json.Encoder(decimal_format="number")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_JSON_TYPE = re.compile(r"application/(?:json|[^\s/]+\+json)")
_CURSOR_CHARACTERS_MAX = 32
# More than any double needs. Beyond it a few bytes, such as 1e999999999, would be a number that
# takes minutes to turn into an integer.
_NUMBER_CHARACTERS_MAX = 400
_NUMBER_EXPONENT_MAX = 400

POSITION_HEADER = "Ledger-Position"


class MalformedBody(InvalidInput):
    code = "malformed_json"


class UnsupportedMediaType(InvalidInput):
    code = "unsupported_media_type"


class InvalidCursor(InvalidInput):
    code = "invalid_cursor"
    field = "cursor"


def _credits_schema(example: float) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "type": "number",
            "description": "Credits: an exact decimal with at most six places.",
            "examples": [example],
        }
    )


# In an answer: built from micro-credits, written as a JSON number of at most six places.
Credits = Annotated[Decimal, _credits_schema(98)]


def wire_credits(amount_micro: int) -> Decimal:
    return credits_decimal(amount_micro)


def _amount_micro(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise ValueError("must be a number of credits")
    try:
        return parse_credits(value)
    except InvalidAmount as error:
        raise ValueError(str(error)) from None


# In a request: a JSON number or a string, read exactly, and micro-credits from there on.
AmountMicro = Annotated[int, PlainValidator(_amount_micro), _credits_schema(12.5)]


def _no_control_characters(value: str) -> str:
    if any(character < " " or character == "\x7f" for character in value):
        raise ValueError("holds control characters; remove them")
    return value


# One line of text, such as a name or a search.
Line = Annotated[str, AfterValidator(_no_control_characters)]


def _instant(value: object) -> datetime:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value
    if not isinstance(value, str):
        raise ValueError(f"must be a text, an RFC 3339 date-time such as {INSTANT_FORM}")
    return parse_instant(value)


# In a request: an RFC 3339 date-time with its zone, in UTC from here on. A number is none.
Instant = Annotated[
    datetime,
    PlainValidator(_instant),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


# true is 1 to Python, and a slip to everybody else.
Whole = Annotated[int, BeforeValidator(_no_bool)]
Real = Annotated[float, BeforeValidator(_no_bool)]


class WireModel(BaseModel):
    """Unknown fields are refused, so that a misspelt one is noticed instead of ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WirePage(WireModel, Generic[T]):
    items: list[T]
    next_cursor: str | None


def encode_cursor(before: int | None) -> str | None:
    if before is None:
        return None
    return urlsafe_b64encode(str(before).encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> int | None:
    """Raises InvalidCursor."""
    if cursor is None:
        return None
    try:
        assert len(cursor) <= _CURSOR_CHARACTERS_MAX
        before = int(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii"))
        assert 0 <= before < 2**63
    except (ValueError, AssertionError):
        raise InvalidCursor("use the next_cursor of an earlier page as it is") from None
    return before


def to_json(value: object) -> bytes:
    """Decimals become JSON numbers digit by digit."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="python")
    return _encoder.encode(value)


def answer(
    model: BaseModel, *, status: int = 200, position: int | None = None, replayed: bool = False
) -> Response:
    """position: of the last event that the command wrote."""
    headers: dict[str, str] = {}
    if position is not None:
        headers[POSITION_HEADER] = str(position)
    if replayed:
        headers["Idempotency-Replayed"] = "true"
    return Response(to_json(model), status, headers, "application/json")


class _ExactRequest(Request):
    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = parse_json(await self.body())
        return self._json


def parse_json(body: bytes) -> Any:
    """Numbers with a fraction as Decimals. Raises MalformedBody, which says where."""
    try:
        text = body.decode("utf-8")
        value = json.loads(text, parse_float=_read_number, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise MalformedBody("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise MalformedBody(f"the body is not valid JSON: {error.msg} at {place}") from None
    except RecursionError:
        raise MalformedBody("the body is nested too deeply") from None
    except ValueError as error:
        raise MalformedBody(f"the body is not valid JSON: {str(error)[:120]}") from None
    check_characters(value)
    return value


def _read_number(text: str) -> Decimal:
    try:
        number = Decimal(text) if len(text) <= _NUMBER_CHARACTERS_MAX else None
    except InvalidOperation:  # an exponent beyond what Decimal can hold
        number = None
    if number is None or abs(number.adjusted()) > _NUMBER_EXPONENT_MAX:
        shown = text if len(text) <= 20 else f"{text[:20]}…"
        raise ValueError(f"the number {shown} is beyond what this API reads")
    return number


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def check_characters(value: object) -> None:
    """Raises MalformedBody for a lone surrogate, wherever it is: no text can hold it."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if _SURROGATE.search(item):
                raise MalformedBody(
                    "the body holds a lone surrogate, which is no character; send valid Unicode"
                )
        elif isinstance(item, dict):
            waiting.extend(item.keys())
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


class ExactRoute(APIRoute):
    """A route whose JSON body is read without floats and without broken characters, and whose
    query holds what the route knows."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        field = self.body_field
        reads_json = field is not None and not isinstance(field.field_info, params.Form)
        names = query_names(self.dependant)

        async def exact(request: Request) -> Response:
            check_query(request, names)
            if reads_json:
                _check_media_type(request)
            try:
                return await handle(_ExactRequest(request.scope, request.receive))
            except HTTPException as error:
                # FastAPI hides what is wrong with a body behind a text of its own.
                if isinstance(error.__cause__, MalformedBody):
                    raise error.__cause__ from None
                raise

        return exact


def _check_media_type(request: Request) -> None:
    """Raises UnsupportedMediaType. A request without a body has no type, and is told so later."""
    headers = request.headers
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if _JSON_TYPE.fullmatch(media_type):
        return
    if media_type or headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        raise UnsupportedMediaType("send the body as JSON, with Content-Type: application/json")
