"""A bound on request bodies, whether or not their length is announced. A larger one is answered
with a problem document."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """FastAPI's own `max_body_size` answers in plain text, past every error handler."""

    def __init__(self, app: ASGIApp, bytes_max: int) -> None:
        self._app = app
        self._bytes_max = bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        is_too_large = announced.isdecimal() and (
            len(announced) > 18 or int(announced) > self._bytes_max
        )
        seen = 0

        async def receive_within() -> Message:
            nonlocal seen
            if is_too_large:
                raise HTTPException(413)
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._bytes_max:
                raise HTTPException(413)
            return message

        await self._app(scope, receive_within, send)
