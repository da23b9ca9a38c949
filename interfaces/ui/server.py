"""The web server around the Gradio app: the cookie, the headers, and what is not served."""

import asyncio
import re
from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from interfaces.ui.sessions import COOKIE_NAME, BrowserSessions, browser_name
from interfaces.ui.settings import UiSettings

# Gradio needs 'unsafe-inline' and 'unsafe-eval' for its own page; everything that could carry
# data to another host is still refused by the browser.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
# The page uses these and nothing else of Gradio: no uploads, no file serving, no proxy, no API.
_SERVED = re.compile(
    r"/|/(assets|static)/.+|/(livez|config/?|theme\.css|favicon\.ico|manifest\.json|robots\.txt)"
    r"|/gradio_api/(queue/(join|data)|heartbeat/\w+|cancel|startup-events|theme\.css|app_id"
    r"|login_check|user)/?"
)

_STREAMS = re.compile(r"/gradio_api/(heartbeat/|queue/data)")


class FrontDoor:
    """ASGI middleware: gives each browser its name and keeps unused routes shut.

    Every open tab holds a stream that ends only with the tab. Once ``closing`` is set such streams
    are ended here, so that the server can stop at once and in silence.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: UiSettings,
        sessions: BrowserSessions,
        closing: asyncio.Event,
    ) -> None:
        self._app = app
        self._closing = closing
        self._settings = settings
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if not _SERVED.fullmatch(scope["path"]):
            await PlainTextResponse("Not found.", 404)(scope, receive, send)
            return
        if not self._is_small(scope):
            await PlainTextResponse("This request is too large.", 413)(scope, receive, send)
            return
        cookie = self._cookie(scope) if scope["path"] == "/" else ""
        if _STREAMS.match(scope["path"]):
            await self._until_closing(scope, receive, _decorated(send, ""))
        else:
            await self._app(scope, receive, _decorated(send, cookie))

    async def _until_closing(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_open = False

        async def watched(message: Message) -> None:
            nonlocal is_open
            is_open = message.get("more_body", True)
            await send(message)

        answering = asyncio.ensure_future(self._app(scope, receive, watched))
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait({answering, closing}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                await answering
                return
        finally:
            closing.cancel()
            answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        if is_open:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _is_small(self, scope: Scope) -> bool:
        """Bodies must name their length, and it must be within bounds."""
        if scope["method"] in {"GET", "HEAD"}:
            return True
        length = Headers(scope=scope).get("content-length", "")
        return length.isdigit() and int(length) <= self._settings.request_bytes_max

    def _cookie(self, scope: Scope) -> str:
        name = browser_name(Headers(scope=scope).get("cookie"))
        if name and self._sessions.is_ours(name):
            return ""
        secure = "; Secure" if self._settings.secure_cookie else ""
        value = self._sessions.new_name()
        return f"{COOKIE_NAME}={value}; Path=/; HttpOnly; SameSite=Strict{secure}"


def _decorated(send: Send, cookie: str) -> Callable[[Message], Awaitable[None]]:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            if cookie:
                headers.append("set-cookie", cookie)
                headers["cache-control"] = "no-store"
        await send(message)

    return send_with_headers
