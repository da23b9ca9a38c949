"""The REST API as an ASGI application."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from uuid import UUID

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.routing import Mount, Route

from interfaces.http.auth.routes import router as auth_router
from interfaces.http.billing.routes import router as billing_router
from interfaces.http.chat.routes import router as chat_router
from interfaces.http.head import HeadAsGet
from interfaces.http.health.routes import router as health_router
from interfaces.http.limits.body_limit import BodyLimit
from interfaces.http.performance.routes import router as performance_router
from interfaces.http.problems import PROBLEM_RESPONSES, install_problem_handlers
from interfaces.http.query import WithoutQuery
from interfaces.http.request_log import RequestLog
from interfaces.http.services import HttpServices

_DESCRIPTION = """
Chat with language models, paid for with prepaid credits. Every credit can be explained: each
answer has a receipt, and each receipt names the events in an append-only ledger that prove it.

Credits are exact decimals with at most six places. Every command takes an `Idempotency-Key`;
every command answers with `Ledger-Position`, and a query sent with that header sees its effect.
Errors are problem documents (RFC 9457).

The Gemma models are provided under and subject to the
[Gemma Terms of Use](https://ai.google.dev/gemma/terms).
"""


def create_app(
    open_services: Callable[[], AbstractAsyncContextManager[HttpServices]],
    *,
    request_body_bytes_max: int,
    new_id: Callable[[], UUID],
) -> FastAPI:
    """open_services: entered when the server starts, left when it stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services() as services:
            app.state.services = services
            yield

    app: FastAPI = FastAPIOffline(
        title="chatledger",
        version=version("chatledger"),
        description=_DESCRIPTION,
        license_info={"name": "MIT"},
        lifespan=lifespan,
        redoc_url=None,
        responses=PROBLEM_RESPONSES,
        # A redirect names a host, and this process only guesses the one that clients see.
        redirect_slashes=False,
    )
    for route in app.routes:
        # The page that a sign-in at another site returns to reads the query itself.
        if isinstance(route, Route | Mount) and route.path != app.swagger_ui_oauth2_redirect_url:
            route.app = WithoutQuery(route.app)
    routers = (auth_router, chat_router, billing_router, performance_router, health_router)
    for router in routers:
        app.include_router(router)
    install_problem_handlers(app)
    app.add_middleware(BodyLimit, bytes_max=request_body_bytes_max)
    app.add_middleware(RequestLog, new_id=new_id)
    app.add_middleware(HeadAsGet)
    return app
