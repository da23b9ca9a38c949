"""Responses: a model as JSON, a stream of events, or nothing but headers."""

from collections.abc import AsyncIterator

from fastapi import Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from interfaces.exact_json import write_json

POSITION_HEADER = "Ledger-Position"


def to_json(model: BaseModel) -> bytes:
    """Decimals become JSON numbers digit by digit."""
    return write_json(model.model_dump(mode="python"))


def json_response(
    model: BaseModel, *, status: int = 200, position: int | None = None, replayed: bool = False
) -> Response:
    """position: of the last event that the command wrote."""
    headers = _headers(position, replayed=replayed)
    return Response(to_json(model), status, headers, "application/json")


def no_content(position: int | None) -> Response:
    """204. position: as in `json_response`."""
    return Response(status_code=204, headers=_headers(position))


def event_stream(
    events: AsyncIterator[bytes], position: int | None, *, replayed: bool = False
) -> StreamingResponse:
    """Server-sent events, which no cache and no proxy holds back. position: as in
    `json_response`."""
    headers = {
        "Cache-Control": "no-store",
        "X-Accel-Buffering": "no",
        **_headers(position, replayed=replayed),
    }
    return StreamingResponse(events, headers=headers, media_type="text/event-stream")


def _headers(position: int | None, *, replayed: bool = False) -> dict[str, str]:
    headers: dict[str, str] = {}
    if position is not None:
        headers[POSITION_HEADER] = str(position)
    if replayed:
        headers["Idempotency-Replayed"] = "true"
    return headers
