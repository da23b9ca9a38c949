"""GET /livez, /readyz, /health."""

from fastapi import APIRouter, Response

from interfaces.http.context import ServicesDep
from interfaces.http.fields import WireModel
from interfaces.http.problems import RETRY_AFTER_S
from interfaces.http.responses import json_response
from interfaces.http.routing import ExactRoute

router = APIRouter(tags=["health"], route_class=ExactRoute)


class AliveResponse(WireModel):
    status: str


class ComponentWire(WireModel):
    name: str
    healthy: bool
    detail: str


class HealthResponse(WireModel):
    """status: "ok" when every part is healthy, else "degraded"."""

    status: str
    components: list[ComponentWire]


@router.get("/livez", response_model=AliveResponse)
async def livez() -> Response:
    """The process answers; nothing else is asked."""
    return json_response(AliveResponse(status="ok"))


@router.get(
    "/readyz",
    response_model=HealthResponse,
    responses={503: {"model": HealthResponse, "description": "What is missing"}},
)
async def readyz(services: ServicesDep) -> Response:
    """200 when messages can be taken and paid for, else 503."""
    return await _health(services, needs_all=True)


@router.get("/health", response_model=HealthResponse)
async def health(services: ServicesDep) -> Response:
    """Every part as it is, for people; always 200 as long as the process answers."""
    return await _health(services, needs_all=False)


async def _health(services: ServicesDep, *, needs_all: bool) -> Response:
    components = [
        ComponentWire(name=part.name, healthy=part.healthy, detail=part.detail)
        for part in await services.health()
    ]
    healthy = all(part.healthy for part in components)
    response = HealthResponse(status="ok" if healthy else "degraded", components=components)
    if healthy or not needs_all:
        return json_response(response)
    missing = json_response(response, status=503)
    missing.headers["Retry-After"] = str(RETRY_AFTER_S)
    return missing
