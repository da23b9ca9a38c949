"""HEAD wherever GET is (RFC 9110, section 9.3.2): the same answer, without its content."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Set in the scope of a HEAD request: nobody sees the content, so it need not be made.
HEAD = "chatledger.head"


class HeadAsGet:
    """Everything inside it sees a GET, so permissions, rate limits and headers are the same. It is
    the outermost middleware, because the web server itself has to know that it was a HEAD."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        has_ended = False

        async def send_headers(message: Message) -> None:
            nonlocal has_ended
            if message["type"] != "http.response.body":
                await send(message)
            elif not has_ended:
                has_ended = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app({**scope, "method": "GET", HEAD: True}, receive, send_headers)
