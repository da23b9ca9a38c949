"""The chat page: a Gradio app that is a client of the REST API and of nothing else."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from interfaces.ui.client.api import Api, http_client
from interfaces.ui.client.sessions import BrowserSessions
from interfaces.ui.client.settings import UiSettings
from interfaces.ui.front_door.code_exchange import Exchanges
from interfaces.ui.front_door.gradio_queue import GradioQueue
from interfaces.ui.front_door.open_tabs import OpenTabs
from interfaces.ui.front_door.server import FrontDoor
from interfaces.ui.page import Page
from interfaces.web.connections import ConnectionLimits
from interfaces.web.server import WebServerConfig

__all__ = ["UiSettings", "build_app", "build_server", "run_ui"]

_ASSETS = Path(__file__).parent / "assets"
_SHUTDOWN_S = 2


def build_app(settings: UiSettings, transport: httpx.AsyncBaseTransport | None = None) -> FastAPI:
    """The page as an ASGI app. ``transport`` replaces the network towards the API in tests."""
    import gradio as gr

    from interfaces.ui.drawing.theme import calm_theme
    from interfaces.ui.handlers.binding import bind_handlers
    from interfaces.ui.layout.page import build_layout

    http = http_client(settings, transport)
    sessions = BrowserSessions(
        idle_s=settings.session_idle_s,
        count_max=settings.sessions_max,
        per_person_max=settings.sessions_per_person_max,
        monotonic=time.monotonic,
        key=settings.cookie_secret.encode(),
    )
    blocks = gr.Blocks(title=settings.title, analytics_enabled=False, fill_width=True)
    queue = GradioQueue(blocks, settings)
    tabs = OpenTabs(settings, sessions, time.monotonic, on_drop=queue.forget)
    exchanges = Exchanges(
        ttl_s=settings.exchange_ttl_s,
        count_max=settings.exchanges_max,
        monotonic=time.monotonic,
    )
    page = Page(settings, Api(http, settings, time.monotonic), sessions, tabs, exchanges)
    with blocks:
        bind_handlers(blocks, build_layout(settings), page)
    blocks.queue(default_concurrency_limit=settings.events_max, max_size=settings.event_queue_max)
    queue.prepare()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with http:
            yield

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_api_route("/livez", _livez, methods=["GET", "HEAD"], response_class=PlainTextResponse)
    closing = app.state.closing = asyncio.Event()
    app.add_middleware(
        FrontDoor,
        settings=settings,
        sessions=sessions,
        tabs=tabs,
        exchanges=exchanges,
        queue=queue,
        closing=closing,
    )
    gr.mount_gradio_app(
        app,
        blocks,
        path="/",
        server_name=settings.host,
        server_port=settings.port,
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=1,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        favicon_path=str(_ASSETS / "favicon.svg"),
        theme=calm_theme(),
        css=(_ASSETS / "page.css").read_text(encoding="utf-8"),
        head=f"<script>{(_ASSETS / 'page.js').read_text(encoding='utf-8')}</script>",
    )
    return app


async def _livez() -> str:
    return "ok"


class PageServer(uvicorn.Server):
    """A server that ends the streams of open tabs before it waits for its connections."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See ``uvicorn.Server``."""
        app = self.config.app
        assert isinstance(app, FastAPI)
        app.state.closing.set()
        await super().shutdown(sockets)


def build_server(settings: UiSettings, limits: ConnectionLimits) -> uvicorn.Server:
    """A server ready to be run where the caller decides: ``run()`` or ``await serve()``."""
    config = WebServerConfig(
        build_app(settings),
        host=settings.host,
        port=settings.port,
        limits=limits,
        shutdown_timeout_s=_SHUTDOWN_S,
    )
    return PageServer(config)


def run_ui(settings: UiSettings, limits: ConnectionLimits) -> None:
    """Serve the page until SIGINT or SIGTERM."""
    with suppress(KeyboardInterrupt):  # The server raises it again after it has stopped.
        build_server(settings, limits).run()
