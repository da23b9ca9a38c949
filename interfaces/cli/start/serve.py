"""Serves the API with everything that it needs, and starts the chat page beside it."""

import asyncio
import logging
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress

import uvicorn

from infrastructure.inference.prepared.manifest import prepared_manifest
from infrastructure.process.clock_ids import TimeOrderedIds
from infrastructure.settings.service import DEVELOPMENT_ADMIN_PASSWORD, Settings
from interfaces.cli.progress import GEMMA_TERMS, say
from interfaces.cli.refusals import CannotStart
from interfaces.cli.start.serve_page import PageProcess, connection_limits
from interfaces.composition.endpoints import Endpoints, migrate_schema, open_endpoints
from interfaces.composition.identity import ADMIN_USERNAME
from interfaces.composition.services import open_services
from interfaces.http.app import create_app
from interfaces.http.services import HttpServices
from interfaces.web.server import WebServerConfig


def serve(settings: Settings, *, with_page: bool, skip_init: bool) -> int:
    """Serves until Ctrl-C or SIGTERM. Raises CannotStart, and whatever its parts raise."""
    began = time.monotonic()
    say("chatledger is starting")
    with ExitStack() as stack:
        endpoints = stack.enter_context(open_endpoints(settings, lambda text: say(f"  {text}")))
        if not skip_init:
            _prepare_default_model(settings)
        say("  Bringing the database schema up to date")
        migrate_schema(settings, endpoints)
        server = _Server(settings, endpoints, with_page=with_page, began=began)
        # After a clean stop uvicorn raises the signal again, and it exits by itself when the
        # services could not be opened; why they could not is raised below.
        with suppress(KeyboardInterrupt, SystemExit):
            server.run()
        say("chatledger is stopping")
        failure = server.failure
    if failure is not None:
        raise failure
    if not server.started:
        raise CannotStart("the API could not start; the log above says why")
    say("chatledger has stopped; everything is kept")
    return 0


class _Server(uvicorn.Server):
    """A server that ends answers under way before it waits for their connections to close."""

    def __init__(
        self, settings: Settings, endpoints: Endpoints, *, with_page: bool, began: float
    ) -> None:
        self._settings = settings
        self._endpoints = endpoints
        self._services: HttpServices | None = None
        self._with_page = with_page
        self._began = began
        self._page = ExitStack()
        self.failure: Exception | None = None
        app = create_app(
            self._open_services,
            request_body_bytes_max=settings.request_body_bytes_max,
            new_id=TimeOrderedIds().new_id,
        )
        super().__init__(
            WebServerConfig(
                app,
                host=settings.host,
                port=settings.port,
                limits=connection_limits(settings),
                shutdown_timeout_s=int(settings.shutdown_timeout_s),
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            if self._with_page:
                self._page.enter_context(PageProcess(self._settings))
            _show_addresses(self._settings, self._with_page, time.monotonic() - self._began)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        stop_page = asyncio.to_thread(self._page.close)
        if self._services is None:
            await stop_page
        else:
            await asyncio.gather(stop_page, self._services.chat.close())
        await super().shutdown(sockets)

    @asynccontextmanager
    async def _open_services(self) -> AsyncIterator[HttpServices]:
        try:
            async with open_services(self._settings, self._endpoints) as services:
                self._services = services
                yield services
        except Exception as error:
            # uvicorn would log a trace; instead `serve` raises this error.
            self.failure = error
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            raise


def _prepare_default_model(settings: Settings) -> None:
    """In a process of its own, whose memory the system gets back when it ends."""
    if prepared_manifest(settings.default_model, settings.prepared_models_dir) is not None:
        say(f"  The model {settings.default_model} is prepared")
        return
    say(f"  Preparing the model {settings.default_model}. {GEMMA_TERMS}.")
    command = [sys.executable, "-m", "interfaces.cli.main", "models"]
    command += ["--data-dir", str(settings.data_dir), "prepare", settings.default_model]
    finished = subprocess.run(command, check=False)  # noqa: S603 - our own interpreter
    if finished.returncode != 0:
        raise CannotStart(
            f"the model {settings.default_model} could not be prepared; the line above says why."
            " Start with --skip-init to go without it"
        )


def _show_addresses(settings: Settings, with_page: bool, seconds: float) -> None:
    api = f"http://{settings.host}:{settings.port}"
    lines = ["", f"chatledger is ready after {seconds:.1f} s", ""]
    if with_page:
        lines.append(f"  Chat page   http://{settings.host}:{settings.ui_port}")
    lines += [f"  REST API    {api}", f"  API docs    {api}/docs", ""]
    if not settings.is_production:
        lines.append(
            "  Register on the chat page: a new user has"
            f" {settings.welcome_credits.normalize():f} credits."
        )
        administrator = (
            f"{ADMIN_USERNAME} / {DEVELOPMENT_ADMIN_PASSWORD} (unless changed; for development"
            " only)"
            if settings.is_for_this_machine
            else "whom you make with `chatledger users create-admin`"
        )
        lines.append(f"  Administrator: {administrator}")
    lines += [f"  {GEMMA_TERMS}.", "", "Press Ctrl-C to stop.", ""]
    say("\n".join(lines))
