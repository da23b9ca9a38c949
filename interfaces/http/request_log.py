"""An id for every request, and one log line for each that changed something or failed."""

import re
import time
from collections.abc import Callable
from uuid import UUID

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from interfaces.http.head import HEAD
from interfaces.http.problems import respond

log = structlog.get_logger()

# Set in the scope of a request whose client went away before the answer.
CLIENT_GONE = "chatledger.client_gone"
_STATUS_CLIENT_GONE = 499  # as in nginx

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestLog:
    """Plain ASGI, because a wrapped response would hold streams back and hide disconnects."""

    def __init__(self, app: ASGIApp, new_id: Callable[[], UUID]) -> None:
        self._app = app
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent_id = Headers(scope=scope).get("x-request-id", "")
        request_id = sent_id if _REQUEST_ID.fullmatch(sent_id) else str(self._new_id())
        scope["request_id"] = request_id
        began = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers.update(scope.get("extra_headers", {}))
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            except Exception as error:
                if status:
                    raise  # the answer has begun, and can only break off
                await respond(error, request_id)(scope, receive, send_with_id)
            finally:
                if CLIENT_GONE in scope:
                    status = _STATUS_CLIENT_GONE
                elapsed_ms = round((time.perf_counter() - began) * 1000, 1)
                method = "HEAD" if HEAD in scope else scope["method"]
                self._say(method, scope["path"], status, elapsed_ms)

    def _say(self, method: str, path: str, status: int, elapsed_ms: float) -> None:
        if status >= 500:
            say = log.warning
        elif method in ("GET", "HEAD", "OPTIONS"):
            say = log.debug
        else:
            say = log.info
        say("request", method=method, path=path, status=status, elapsed_ms=elapsed_ms)
