"""Every error as a problem document (RFC 9457). The one place that knows which refusal is which
status."""

from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from application.chat import inference_errors
from application.chat.answer import GenerationFailed
from application.chat.quotas import QuotaExhausted
from application.ledger.event_macs import StreamDamaged
from application.ledger.ledger import LedgerUnavailable
from application.ports import PasswordsBusy
from application.read_models import ReadModelsUnavailable
from domain import errors
from domain.credits import credits_decimal
from interfaces.exact_json import write_json
from interfaces.http.json_body import MalformedBody, UnsupportedMediaType

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
# A request may have thousands of unknown fields, with names of any length.
_ERRORS_TOLD_MAX = 20
_FIELD_CHARACTERS_MAX = 100

_TITLES = {
    400: "Malformed request",
    401: "Not signed in",
    402: "Not enough credits",
    403: "Not permitted",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Request too large",
    415: "Unsupported media type",
    422: "Invalid request",
    429: "Too many requests",
    500: "Internal error",
    503: "Not available",
    504: "Took too long",
}

# For the schema: what every route answers when it refuses or fails.
PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "A problem document (RFC 9457)",
        "content": {
            MEDIA_TYPE: {
                "schema": {
                    "type": "object",
                    "title": "Problem",
                    "properties": {
                        "type": {"type": "string"},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                        "code": {"type": "string", "description": "Stable, for programs"},
                        "request_id": {"type": "string"},
                        "retry_after_s": {"type": "integer"},
                        "errors": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "properties": {
                                    "field": {"type": "string"},
                                    "detail": {"type": "string"},
                                },
                                "required": ["field", "detail"],
                            },
                        },
                    },
                    "required": ["type", "title", "status", "detail", "code", "request_id"],
                }
            }
        },
    }
}


class ServiceBusy(Exception):
    """code and text for the client, and when to come back."""

    def __init__(self, code: str, text: str, *, retry_after_s: int = RETRY_AFTER_S) -> None:
        self.code = code
        self.retry_after_s = retry_after_s
        super().__init__(text)


class RateLimited(Exception):
    def __init__(self, text: str, headers: Mapping[str, str]) -> None:
        self.headers = dict(headers)
        super().__init__(text)


def problem(
    request_id: str,
    status: int,
    code: str,
    detail: str,
    **extensions: object,
) -> dict[str, object]:
    return {
        "type": "about:blank",
        "title": _TITLES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
        **extensions,
    }


def describe(error: Exception, request_id: str) -> tuple[int, dict[str, object], dict[str, str]]:
    """Status, problem document and headers of an error that a caller can expect, or of one that
    it cannot (500, logged with its trace)."""
    status, code = _classify(error)
    headers: dict[str, str] = {}
    extensions: dict[str, object] = {}
    detail = str(error)
    match error:
        case errors.InsufficientCredits():
            extensions["available"] = credits_decimal(error.available_micro)
            extensions["required"] = credits_decimal(error.required_micro)
        case errors.InvalidInput() if error.field:
            extensions["errors"] = [{"field": error.field, "detail": detail}]
        case errors.Unauthenticated():
            headers["WWW-Authenticate"] = "Bearer"
        case ServiceBusy() | inference_errors.EngineBusy() | QuotaExhausted() | PasswordsBusy():
            headers["Retry-After"] = str(error.retry_after_s)
        case RateLimited():
            headers.update(error.headers)
        case inference_errors.InferenceError() if code == "generation_failed":
            detail = f"{detail}; nothing was charged"
        case StreamDamaged():
            log.error("stream_damaged", request_id=request_id, reason=str(error))
            detail = (
                "what is stored about this does not prove itself, so nothing was done; tell the"
                " operator, who has it in the log under the request_id"
            )
    if status >= 500:
        headers.setdefault("Retry-After", str(RETRY_AFTER_S))
    if "Retry-After" in headers:
        # The error event of a stream has no headers, so the document says it too.
        extensions["retry_after_s"] = int(headers["Retry-After"])
    if code == "internal_error":
        log.error("unexpected_error", request_id=request_id, exc_info=error)
        detail = "this is our mistake; the log has it under the request_id"
    return status, problem(request_id, status, code, detail, **extensions), headers


def _classify(error: Exception) -> tuple[int, str]:
    match error:
        case MalformedBody():
            return 400, error.code
        case UnsupportedMediaType():
            return 415, error.code
        case errors.InvalidInput() | errors.IdempotencyKeyReused():
            return 422, error.code
        case errors.InsufficientCredits():
            return 402, error.code
        case errors.Unauthenticated():
            return 401, error.code
        case errors.NotPermitted():
            return 403, error.code
        case errors.NotFound():
            return 404, error.code
        case errors.Conflict():
            return 409, error.code
        case inference_errors.UnknownModel():
            return 422, "unknown_model"
        case inference_errors.PromptTooLong():
            return 422, "message_too_long"
        case inference_errors.ModelUnavailable():
            return 503, "model_unavailable"
        case inference_errors.OwnerBusy():
            return 429, "too_many_messages"
        case inference_errors.EngineBusy():
            return 503, "engine_busy"
        case inference_errors.GenerationTimedOut():
            return 504, "generation_failed"
        case inference_errors.InferenceError():
            return 503, "generation_failed"
        case GenerationFailed():
            return (504 if error.reason == "timeout" else 503), "generation_failed"
        case StreamDamaged():
            return 500, "ledger_damaged"
        case LedgerUnavailable() | ReadModelsUnavailable():
            return 503, "ledger_unavailable"
        case ServiceBusy():
            return 503, error.code
        case PasswordsBusy():
            return 503, "sign_in_busy"
        case RateLimited():
            return 429, "rate_limited"
        case QuotaExhausted():
            return 429, error.code
        case _:
            return 500, "internal_error"


def request_id_of(request: Request) -> str:
    return str(request.scope.get("request_id", ""))


def _respond(status: int, document: Mapping[str, object], headers: Mapping[str, str]) -> Response:
    return Response(write_json(document), status, dict(headers), MEDIA_TYPE)


def respond(error: Exception, request_id: str) -> Response:
    return _respond(*describe(error, request_id))


async def _on_error(request: Request, error: Exception) -> Response:
    return respond(error, request_id_of(request))


async def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [
        {
            "field": _field(item["loc"]),
            "detail": item["msg"].removeprefix("Value error, "),
        }
        for item in error.errors()[:_ERRORS_TOLD_MAX]
    ]
    detail = "; ".join(f"{item['field']}: {item['detail']}" for item in found[:5])
    document = problem(request_id_of(request), 422, "validation_error", detail, errors=found)
    return _respond(422, document, {})


def _field(place: tuple[str | int, ...]) -> str:
    name = ".".join(str(part) for part in place[1:]) or str(place[0])
    return name if len(name) <= _FIELD_CHARACTERS_MAX else f"{name[:_FIELD_CHARACTERS_MAX]}…"


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    codes = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
    details = {
        404: f"there is nothing at {request.url.path[:200]}; see /docs",
        405: f"{request.method} is not possible here; see /docs",
        413: "the request body is too large; send less at once",
    }
    status = error.status_code
    code = codes.get(status, "http_error")
    detail = details.get(status, str(error.detail))
    document = problem(request_id_of(request), status, code, detail)
    headers = dict(error.headers or {})
    if "GET" in headers.get("Allow", "").split(", "):
        headers["Allow"] += ", HEAD"
    return _respond(status, document, headers)


def install_problem_handlers(app: FastAPI) -> None:
    expected: tuple[type[Exception], ...] = (
        errors.Refusal,
        inference_errors.InferenceError,
        GenerationFailed,
        LedgerUnavailable,
        StreamDamaged,
        ReadModelsUnavailable,
        PasswordsBusy,
        ServiceBusy,
        RateLimited,
        QuotaExhausted,
        Exception,
    )
    for error_type in expected:
        app.add_exception_handler(error_type, _on_error)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
