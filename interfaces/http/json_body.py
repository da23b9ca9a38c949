"""A request's JSON body, read exactly: no floats, no broken characters, and plain words for what is
wrong with it."""

import re
from typing import Any

from fastapi import Request

from domain.errors import InvalidInput
from interfaces.exact_json import NotJson, check_characters, read_json

_JSON_TYPE = re.compile(r"application/(?:json|[^\s/]+\+json)")


class MalformedBody(InvalidInput):
    code = "malformed_json"


class UnsupportedMediaType(InvalidInput):
    code = "unsupported_media_type"


class ExactRequest(Request):
    """FastAPI reads the body by `json`; here that is exact, and raises MalformedBody."""

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = parse_body(await self.body())
        return self._json


def parse_body(body: bytes) -> Any:
    """Numbers with a fraction as Decimals. Raises MalformedBody, which says where."""
    try:
        return read_json(body)
    except NotJson as error:
        raise MalformedBody(f"the body {error}") from None


def check_form(*values: str) -> None:
    """For a body that is a form instead. Raises MalformedBody."""
    try:
        check_characters(list(values))
    except NotJson as error:
        raise MalformedBody(f"the body {error}") from None


def check_media_type(request: Request) -> None:
    """Raises UnsupportedMediaType. A request without a body needs no type; that its body is missing
    is said later."""
    headers = request.headers
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if _JSON_TYPE.fullmatch(media_type):
        return
    if media_type or headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        raise UnsupportedMediaType("send the body as JSON, with Content-Type: application/json")
