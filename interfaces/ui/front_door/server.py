"""The web server around the Gradio app: who is let in, the cookie, the headers, and what is not
served."""

import asyncio
import re
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from interfaces.ui.client.sessions import (
    COOKIE_NAME,
    SECURE_COOKIE_NAME,
    BrowserSessions,
    browser_name,
)
from interfaces.ui.client.settings import UiSettings
from interfaces.ui.front_door.code_exchange import Change, Exchanges
from interfaces.ui.front_door.gate import (
    Refused,
    check_host,
    check_origin,
    check_session_hash,
    for_gradio,
    is_from_elsewhere,
    read_exchange,
    read_join,
    write_join,
)
from interfaces.ui.front_door.gradio_queue import GradioQueue
from interfaces.ui.front_door.headers import (
    RETRY_S,
    decorated,
    replayed,
    with_body,
    with_cookie,
)
from interfaces.ui.front_door.open_tabs import OpenTab, OpenTabs, TooManyTabs, UnknownTab
from interfaces.ui.front_door.visitor import Visitor, announce
from interfaces.web.client_address import UNKNOWN, plain_address

SESSION, JOIN, DATA = "/session", "/gradio_api/queue/join", "/gradio_api/queue/data"
HERE = b"here"
_LEAD_HERE = '<!doctype html><script>location.replace("?here")</script>'
_UNKNOWN = "The page does not know this browser any more: reload it, with cookies allowed."
_HEARTBEAT = re.compile(r"/gradio_api/heartbeat/([^/]*)/?")
# What the page uses of Gradio, and no more: no uploads, no file serving, no proxy, no API.
_READ = re.compile(
    r"/|/(assets|static)/[A-Za-z0-9_./-]{1,200}"
    r"|/(livez|config/?|theme\.css|favicon\.ico|manifest\.json|robots\.txt)"
    r"|/gradio_api/(startup-events|theme\.css|app_id|login_check|user)/?"
)
# These are the same for everybody and may lie in a cache.
_PUBLIC = re.compile(r"/(assets|static)/.+|/(theme\.css|favicon\.ico|manifest\.json|robots\.txt)")


class FrontDoor:
    """ASGI middleware: gives each browser its name, keeps unused routes shut, and lets nothing
    through that Gradio would stumble over or that belongs to another browser.

    Every open tab holds a stream that ends only with the tab. Once ``closing`` is set such streams
    are ended here, so that the server can stop at once and in silence.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: UiSettings,
        sessions: BrowserSessions,
        tabs: OpenTabs,
        exchanges: Exchanges,
        queue: GradioQueue,
        closing: asyncio.Event,
    ) -> None:
        self._app = app
        self._settings = settings
        self._sessions = sessions
        self._tabs = tabs
        self._exchanges = exchanges
        self._queue = queue
        self._closing = closing
        self._inputs: dict[int, tuple[int, ...]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        guarded = decorated(send, is_public=_PUBLIC.fullmatch(scope["path"]) is not None)
        try:
            await self._serve(scope, receive, guarded)
        except Refused as refusal:
            wait_s = refusal.retry_after_s
            headers = {"retry-after": str(wait_s)} if wait_s is not None else None
            response = JSONResponse({"detail": refusal.detail}, refusal.status, headers)
            await response(scope, receive, guarded)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, path, method = Headers(scope=scope), scope["path"], scope["method"]
        if path != "/livez":  # A probe of the process may call it by its address.
            check_host(headers, self._settings.hosts)
        heartbeat = _HEARTBEAT.fullmatch(path)
        allowed = _methods(path)
        if not allowed:
            raise Refused(404, "Not found.")
        if method not in allowed:
            raise Refused(405, f"This route knows {', '.join(allowed)} only.")
        if path == SESSION or path.startswith("/gradio_api/"):
            check_origin(headers)
        query = scope["query_string"]
        scope = {**scope, "query_string": b"", "headers": for_gradio(scope["headers"])}
        if path == SESSION:
            await self._session(scope, receive, send)
        elif path == JOIN:
            await self._join(scope, receive, send)
        elif path == DATA:
            await self._data(query, scope, receive, send)
        elif heartbeat is not None:
            opened = self._claim(check_session_hash(heartbeat[1]), self._visitor(scope))
            await self._stream(opened, scope, receive, send)
        else:
            await self._read(query, scope, receive, send)

    async def _read(self, query: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        """A part of the page that is the same for everybody; with the page comes the cookie."""
        if scope["path"] == "/" and not self._sessions.is_ours(self._name(scope)):
            if is_from_elsewhere(Headers(scope=scope)) and query != HERE:
                # Browsers do not send the cookie when a link of another site leads here. A new one
                # would sign the person out, so the page first leads to itself.
                await HTMLResponse(_LEAD_HERE)(scope, receive, send)
                return
            send = with_cookie(send, self._cookie(scope, self._sessions.new_name()))
        # The server itself leaves the body of a HEAD out; Gradio does not know HEAD everywhere.
        await self._app({**scope, "method": "GET"}, receive, send)

    async def _session(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET: whether the browser has a name. POST: a new name for a change of who is behind it.

        Without a valid code the browser gets a name only when it has none.
        """
        name = self._name(scope)
        if scope["method"] != "POST":
            self._visitor(scope)
        else:
            code = read_exchange(await self._body(scope, receive)).code
            change = self._exchanges.redeem(name, code)
            if change is not None or not self._sessions.is_ours(name):
                fresh = self._sessions.new_name()
                if change is not None:
                    self._exchange(name, fresh, change, code)
                send = with_cookie(send, self._cookie(scope, fresh))
        await Response(status_code=204)(scope, receive, send)

    def _exchange(self, old: str, fresh: str, change: Change, code: str) -> None:
        self._tabs.drop(old)
        self._sessions.retire(old)
        if change.session is not None:
            self._sessions.keep(fresh, change.session)
        self._exchanges.arrive(fresh, change, code)

    async def _join(self, scope: Scope, receive: Receive, send: Send) -> None:
        visitor = self._visitor(scope)
        if self._inputs is None:
            self._inputs = self._queue.inputs_of_events()
        join = read_join(await self._body(scope, receive), self._inputs)
        self._claim(join.session_hash, visitor)
        together = set(self._tabs.of_same_owner(visitor))
        if self._queue.count_events(together) >= self._settings.events_per_visitor_max:
            raise Refused(429, "Too much at once: wait a moment and try again.", RETRY_S)
        if self._queue.count_unread(join.session_hash) >= self._settings.messages_per_tab_max:
            raise Refused(429, "This tab does not fetch its updates; reload it.", RETRY_S)
        announce(scope, visitor)
        self._queue.stir()
        body = write_join(join)
        scope["headers"] = with_body(scope["headers"], body)
        await self._app(scope, replayed(body, receive), send)

    async def _data(self, query: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        given = parse_qs(query.decode("latin-1")).get("session_hash", [""])
        session_hash = check_session_hash(given[0])
        opened = self._use(session_hash, self._visitor(scope))
        if not self._queue.has_updates(session_hash):
            raise Refused(404, "This tab has nothing to fetch; reload the page.")
        scope["query_string"] = f"session_hash={session_hash}".encode()
        await self._stream(opened, scope, receive, send)

    async def _stream(self, opened: OpenTab, scope: Scope, receive: Receive, send: Send) -> None:
        if opened.streams >= self._settings.streams_per_tab_max:
            raise Refused(429, "This tab has too many connections open.", RETRY_S)
        announce(scope, opened.visitor)
        opened.streams += 1
        try:
            await self._until_gone(opened, scope, receive, send)
        finally:
            opened.streams -= 1
            self._tabs.saw(opened)

    async def _until_gone(
        self, opened: OpenTab, scope: Scope, receive: Receive, send: Send
    ) -> None:
        is_open = False

        async def watched(message: Message) -> None:
            nonlocal is_open
            is_open = message.get("more_body", True)
            await send(message)

        answering = asyncio.ensure_future(self._app(scope, receive, watched))
        closing = asyncio.ensure_future(self._closing.wait())
        gone = asyncio.ensure_future(opened.gone.wait())
        try:
            await asyncio.wait({answering, closing, gone}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                await answering
                return
        finally:
            closing.cancel()
            gone.cancel()
            answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
        if is_open:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body, whose length must be named and within bounds. Raises Refused."""
        length = Headers(scope=scope).get("content-length", "")
        bytes_max = self._settings.request_bytes_max
        if not length.isdecimal() or len(length) > len(str(bytes_max)) or int(length) > bytes_max:
            raise Refused(413, f"The body must have a length, of at most {bytes_max} bytes.")
        try:
            return await Request(scope, receive).body()
        except ClientDisconnect:
            raise Refused(400, "The body came to no end.") from None

    def _claim(self, session_hash: str, visitor: Visitor) -> OpenTab:
        try:
            return self._tabs.claim(session_hash, visitor)
        except UnknownTab as error:
            raise Refused(404, str(error)) from None
        except TooManyTabs as error:
            raise Refused(503, str(error), int(self._settings.tab_left_s)) from None

    def _use(self, session_hash: str, visitor: Visitor) -> OpenTab:
        try:
            return self._tabs.use(session_hash, visitor)
        except UnknownTab as error:
            raise Refused(404, str(error)) from None

    def _visitor(self, scope: Scope) -> Visitor:
        """Who asks. Raises Refused for a browser without a name."""
        name = self._name(scope)
        if not self._sessions.is_ours(name):
            raise Refused(403, _UNKNOWN)
        client = scope.get("client")
        return Visitor(browser=name, address=plain_address(client[0] if client else UNKNOWN))

    def _name(self, scope: Scope) -> str:
        cookie = SECURE_COOKIE_NAME if self._is_secure(scope) else COOKIE_NAME
        return browser_name(Headers(scope=scope).get("cookie"), cookie)

    def _cookie(self, scope: Scope, value: str) -> str:
        if self._is_secure(scope):
            return f"{SECURE_COOKIE_NAME}={value}; Path=/; HttpOnly; SameSite=Strict; Secure"
        return f"{COOKIE_NAME}={value}; Path=/; HttpOnly; SameSite=Strict"

    def _is_secure(self, scope: Scope) -> bool:
        return self._settings.secure_cookie or scope["scheme"] == "https"


def _methods(path: str) -> tuple[str, ...]:
    """What may be done at this path; nothing where nothing is served."""
    if path == SESSION:
        return ("GET", "HEAD", "POST")
    if path == JOIN:
        return ("POST",)
    if path == DATA or _HEARTBEAT.fullmatch(path):
        return ("GET",)
    return ("GET", "HEAD") if _READ.fullmatch(path) else ()
