"""The set-up of both web servers, the API's and the chat page's."""

from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from interfaces.web.client_address import site_of
from interfaces.web.connections import BoundedConnection, ConnectionLimits, Connections
from interfaces.web.turned_away import TOO_MANY_REQUESTS_OPEN

# Files open beside the connections of clients: databases, logs, models and others.
_OTHER_OPEN_FILES = 256

log = structlog.get_logger()


class WebServerConfig(uvicorn.Config):
    """uvicorn with bounded connections. A client's address is the one that it connects from, unless
    that is a trusted proxy: then the proxy's word counts for the address and the scheme."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str,
        port: int,
        limits: ConnectionLimits,
        shutdown_timeout_s: int,
    ) -> None:
        self.connections = Connections(limits)
        super().__init__(
            app,
            host=host,
            port=port,
            http=BoundedConnection,
            # A WebSocket would be outside of these bounds, and nothing here needs one.
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            # uvicorn's own switch trusts loopback, or what FORWARDED_ALLOW_IPS says.
            proxy_headers=False,
            workers=1,
            timeout_graceful_shutdown=shutdown_timeout_s,
        )
        # uvicorn declares an int, and passes it to the event loop, which takes fractions too.
        self.timeout_keep_alive = limits.keep_alive_timeout_s  # type: ignore[assignment]

    def load(self) -> None:
        super().load()
        limits = self.connections.limits
        if not allow_open_files(limits.connections_max):
            log.warning(
                "too_few_open_files",
                advice="raise the limit of open files (ulimit -n), or lower CONNECTIONS_MAX",
            )
        if limits.trusted_proxies:
            # uvicorn and Starlette each have a type of their own for the same ASGI application.
            bounded: Any = RequestsOfOneClient(self.loaded_app, limits.connections_per_address_max)
            trusted = [str(network) for network in limits.trusted_proxies]
            self.loaded_app = ProxyHeadersMiddleware(bounded, trusted)


class RequestsOfOneClient:
    """Bounds the open requests of each client behind a proxy, whose many connections all come from
    one address."""

    def __init__(self, app: ASGIApp, requests_max: int) -> None:
        self._app = app
        self._requests_max = requests_max
        self._open: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope.get("client") is None:
            await self._app(scope, receive, send)
            return
        site = site_of(scope["client"][0])
        count = self._open.get(site, 0)
        if count >= self._requests_max:
            refused = TOO_MANY_REQUESTS_OPEN
            start = {"status": refused.status, "headers": refused.headers}
            await send({"type": "http.response.start", **start})
            await send({"type": "http.response.body", "body": refused.body})
            return
        self._open[site] = count + 1
        try:
            await self._app(scope, receive, send)
        finally:
            if self._open[site] == 1:
                del self._open[site]
            else:
                self._open[site] -= 1


def allow_open_files(connections_max: int) -> bool:
    """Ask the system for so many open connections; returns whether it grants them."""
    try:
        import resource
    except ImportError:  # Windows knows no such limit.
        return True
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections_max + _OTHER_OPEN_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return True
    granted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))
    return granted == needed
