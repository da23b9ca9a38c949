"""POST /performance/optimize/memory. For administrators."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Response

from application.users.users import Principal
from domain.errors import NotPermitted
from domain.users.events import UserRole
from interfaces.http.context import PrincipalDep, ServicesDep
from interfaces.http.fields import WireModel
from interfaces.http.responses import json_response
from interfaces.http.routing import ExactRoute

log = structlog.get_logger()

router = APIRouter(prefix="/performance", tags=["performance"], route_class=ExactRoute)


class MemoryReleasedResponse(WireModel):
    """Sizes in bytes. rss_fell_bytes: by how much the resident memory of the process fell.
    gpu_…_bytes: what the loaded models take of the GPU's memory."""

    rss_fell_bytes: int
    rss_before_bytes: int
    rss_after_bytes: int
    gpu_before_bytes: int
    gpu_after_bytes: int
    kept_bytes_dropped: int
    models_unloaded: list[str]


async def administrator(who: PrincipalDep) -> Principal:
    """Raises NotPermitted."""
    if who.role is not UserRole.ADMIN:
        raise NotPermitted("this is for administrators")
    return who


AdministratorDep = Annotated[Principal, Depends(administrator)]


@router.post("/optimize/memory", response_model=MemoryReleasedResponse)
async def optimize_memory(services: ServicesDep, who: AdministratorDep) -> Response:
    """Unloads models that nobody uses, drops what is kept of earlier prompts, gives the memory
    back to the system and says how much that was. The next message loads its model again."""
    released = await services.engine.release_memory()
    log.info(
        "memory_released",
        by=str(who.user_id),
        rss_fell_bytes=released.rss_fell_bytes,
        models_unloaded=list(released.models_unloaded),
    )
    return json_response(
        MemoryReleasedResponse(
            rss_fell_bytes=released.rss_fell_bytes,
            rss_before_bytes=released.rss_before_bytes,
            rss_after_bytes=released.rss_after_bytes,
            gpu_before_bytes=released.gpu_before_bytes,
            gpu_after_bytes=released.gpu_after_bytes,
            kept_bytes_dropped=released.kept_bytes_dropped,
            models_unloaded=list(released.models_unloaded),
        )
    )
