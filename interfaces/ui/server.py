"""The web server around the Gradio app: the cookie, the headers, and what is not served."""

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


class FrontDoor:
    """ASGI middleware: gives each browser its name and keeps unused routes shut."""

    def __init__(self, app: ASGIApp, settings: UiSettings, sessions: BrowserSessions) -> None:
        self._app = app
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
        await self._app(scope, receive, _decorated(send, cookie))

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
