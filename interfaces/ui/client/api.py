"""The page's client of the REST API: tokens, retries of a stale token, problems, streams."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx

from interfaces.exact_json import write_json
from interfaces.ui.client.errors import ApiGarbled, ApiProblem, ApiUnreachable, SignedOut
from interfaces.ui.client.responses import TokenPair, read_as, read_response
from interfaces.ui.client.sessions import BrowserSession, Tokens
from interfaces.ui.client.settings import UiSettings
from interfaces.ui.client.sse import EventTooLong, ServerEvent, server_events
from interfaces.web.visitor_address import VISITOR_HEADER, sign_address

Body = TypeVar("Body")
POSITION_HEADER = "Ledger-Position"


def http_client(
    settings: UiSettings, transport: httpx.AsyncBaseTransport | None = None
) -> httpx.AsyncClient:
    """The connections to the API: never through a proxy, never following a redirect."""
    return httpx.AsyncClient(
        base_url=settings.api_url,
        transport=transport,
        timeout=httpx.Timeout(settings.request_timeout_s, connect=settings.connect_timeout_s),
        limits=httpx.Limits(max_connections=settings.events_max, max_keepalive_connections=16),
        trust_env=False,
        follow_redirects=False,
    )


class Api:
    """Calls in the name of a browser session.

    Every method raises ApiProblem, ApiUnreachable or ApiGarbled, and those that need a person
    raise SignedOut when there is none or when the API has ended the session.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        settings: UiSettings,
        monotonic: Callable[[], float],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._settings = settings
        self._monotonic = monotonic
        self._now = now

    async def sign_in(self, session: BrowserSession, username: str, password: str) -> None:
        """Open a session at the API and keep its tokens in ``session``."""
        body = {"username": username, "password": password}
        response = await self._call_without_token(
            session, "POST", "/auth/login", content=write_json(body)
        )
        pair = read_as(_body(response), TokenPair)
        session.tokens = Tokens.of(pair, self._monotonic())
        session.saw_position(response.headers.get(POSITION_HEADER))

    async def register(
        self, session: BrowserSession, username: str, email: str, password: str
    ) -> None:
        """Create an account; signing in is a call of its own."""
        body = {"username": username, "email": email, "password": password}
        response = await self._call_without_token(
            session, "POST", "/auth/register", content=write_json(body)
        )
        _body(response)
        session.saw_position(response.headers.get(POSITION_HEADER))

    async def sign_out(self, session: BrowserSession) -> None:
        """End the session at the API where that is possible, and here in any case."""
        tokens = session.tokens
        try:
            if tokens is not None:
                body = write_json({"refresh_token": tokens.refresh})
                await self._call(session, "POST", "/auth/logout", content=body)
        except (ApiProblem, ApiUnreachable, ApiGarbled, SignedOut):
            pass  # The tokens end by themselves; the person asked to be signed out here.
        finally:
            session.forget()

    async def public(self, session: BrowserSession, path: str, kind: type[Body]) -> Body:
        """GET what needs no sign-in."""
        return read_as(_body(await self._call_without_token(session, "GET", path)), kind)

    async def get(
        self, session: BrowserSession, path: str, kind: type[Body], **params: str | int | None
    ) -> Body:
        """GET; parameters that are None or empty are left out."""
        given = {name: str(value) for name, value in params.items() if value not in (None, "")}
        return read_as(await self._call(session, "GET", path, params=given), kind)

    async def command(
        self,
        session: BrowserSession,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
    ) -> Any:
        """Send a command; ``key`` is its Idempotency-Key. Returns the parsed answer or None."""
        content = write_json(dict(body)) if body is not None else None
        return await self._call(session, method, path, content=content, key=key)

    @asynccontextmanager
    async def stream(
        self, session: BrowserSession, path: str, body: Mapping[str, Any], *, key: str
    ) -> AsyncIterator[AsyncIterator[ServerEvent]]:
        """POST and read the answer's events. Leaving the context closes the connection."""
        content = write_json(dict(body))
        for attempt in (1, 2):
            tokens = await self._fresh_tokens(session)
            request = self._request("POST", path, session, tokens, content=content, key=key)
            request.extensions["timeout"]["read"] = self._settings.stream_idle_timeout_s
            response = await self._deliver(request, stream=True)
            try:
                if response.status_code == httpx.codes.UNAUTHORIZED and attempt == 1:
                    await self._renew(session, tokens)
                    continue
                if not response.is_success:
                    await _read(response)
                    self._refused(session, response)
                session.saw_position(response.headers.get(POSITION_HEADER))
                yield _readable(response)
                return
            finally:
                await response.aclose()

    async def _call(
        self,
        session: BrowserSession,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        key: str | None = None,
    ) -> Any:
        tokens = await self._fresh_tokens(session)
        for attempt in (1, 2):
            request = self._request(
                method, path, session, tokens, params=params, content=content, key=key
            )
            response = await self._deliver(request)
            if response.status_code != httpx.codes.UNAUTHORIZED or attempt == 2:
                break
            tokens = await self._renew(session, tokens)
        if not response.is_success:
            self._refused(session, response)
        if method != "GET":
            session.saw_position(response.headers.get(POSITION_HEADER))
        return _body(response)

    def _refused(self, session: BrowserSession, response: httpx.Response) -> None:
        if response.status_code == httpx.codes.UNAUTHORIZED:
            session.forget()
            raise SignedOut
        raise _problem(response)

    def _request(
        self,
        method: str,
        path: str,
        session: BrowserSession,
        tokens: Tokens,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        key: str | None = None,
    ) -> httpx.Request:
        headers = {**self._visitor_header(session), "Authorization": f"Bearer {tokens.access}"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Idempotency-Key"] = key
        if session.position:
            headers[POSITION_HEADER] = session.position
        return self._http.build_request(
            method, path, params=params or None, content=content, headers=headers
        )

    def _visitor_header(self, session: BrowserSession) -> dict[str, str]:
        """Says whom the page calls for; otherwise the API would see the page's own address for
        every visitor."""
        key = self._settings.visitor_key
        if not key or not session.address:
            return {}
        return {VISITOR_HEADER: sign_address(session.address, key, self._now())}

    async def _call_without_token(
        self, session: BrowserSession, method: str, path: str, *, content: bytes | None = None
    ) -> httpx.Response:
        headers = self._visitor_header(session)
        if content is not None:
            headers["Content-Type"] = "application/json"
        request = self._http.build_request(method, path, content=content, headers=headers)
        return await self._deliver(request)

    async def _deliver(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        try:
            return await self._http.send(request, stream=stream)
        except httpx.TimeoutException as error:
            raise ApiUnreachable("The service takes too long to answer.") from error
        except httpx.HTTPError as error:
            raise ApiUnreachable("The service cannot be reached.") from error

    async def _fresh_tokens(self, session: BrowserSession) -> Tokens:
        tokens = session.tokens
        if tokens is None:
            raise SignedOut
        if tokens.expires_at_s - self._monotonic() > self._settings.refresh_margin_s:
            return tokens
        return await self._renew(session, tokens)

    async def _renew(self, session: BrowserSession, stale: Tokens) -> Tokens:
        """A pair newer than ``stale``.

        Whoever comes first sends the refresh token, all others wait for the same answer: sending
        it twice would make the API revoke the session. The renewal is shielded, because a caller
        that goes away must not lose the new pair.
        """
        if session.tokens is None:
            raise SignedOut
        if session.tokens is not stale:
            return session.tokens
        if session.refreshing is None:
            session.refreshing = asyncio.create_task(self._refresh(session, stale))
            session.refreshing.add_done_callback(_collect)
        return await asyncio.shield(session.refreshing)

    async def _refresh(self, session: BrowserSession, stale: Tokens) -> Tokens:
        try:
            content = write_json({"refresh_token": stale.refresh})
            response = await self._call_without_token(
                session, "POST", "/auth/refresh", content=content
            )
            if response.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
                session.forget()
                raise SignedOut
            tokens = Tokens.of(read_as(_body(response), TokenPair), self._monotonic())
            if session.tokens is not stale:
                raise SignedOut  # Signed out meanwhile; the new pair is left to end by itself.
            session.tokens = tokens
            return tokens
        finally:
            session.refreshing = None


def _collect(task: "asyncio.Task[Tokens]") -> None:
    """Mark the task's error as seen even when every waiting caller has gone."""
    if not task.cancelled():
        task.exception()


def _body(response: httpx.Response) -> Any:
    if not response.is_success:
        raise _problem(response)
    return read_response(response.content) if response.content else None


def _problem(response: httpx.Response) -> ApiProblem:
    try:
        document = read_response(response.content)
    except ApiGarbled:
        document = None
    return ApiProblem.of(response.status_code, document, response.headers.get("Retry-After"))


async def _read(response: httpx.Response) -> None:
    try:
        await response.aread()
    except httpx.HTTPError as error:
        raise ApiUnreachable("The connection to the service was lost.") from error


async def _readable(response: httpx.Response) -> AsyncIterator[ServerEvent]:
    try:
        async for event in server_events(response.aiter_bytes()):
            yield event
    except EventTooLong as error:
        raise ApiGarbled("The service sent an answer that is too long to show.") from error
    except httpx.HTTPError as error:
        raise ApiUnreachable("The connection to the service was lost.") from error
