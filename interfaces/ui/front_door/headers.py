"""What the front door adds to the answers and requests that pass it."""

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Receive, Send

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
RETRY_S = 5
_OF_THE_BODY = {b"content-type", b"content-length", b"content-encoding", b"transfer-encoding"}


def with_body(headers: list[tuple[bytes, bytes]], body: bytes) -> list[tuple[bytes, bytes]]:
    """The headers of a request whose body is this JSON now."""
    return [
        *(pair for pair in headers if pair[0].lower() not in _OF_THE_BODY),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]


def replayed(body: bytes, receive: Receive) -> Receive:
    """Gives the body, which has been read, once more; then whatever the connection says."""
    is_sent = False

    async def again() -> Message:
        nonlocal is_sent
        if is_sent:
            return await receive()
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def with_cookie(send: Send, cookie: str) -> Send:
    """An answer that sets a cookie."""

    async def send_with_cookie(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).append("set-cookie", cookie)
        await send(message)

    return send_with_cookie


def decorated(send: Send, *, is_public: bool) -> Send:
    """Adds the headers of every answer. Only what is the same for everybody may be cached."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            if not is_public:
                headers["cache-control"] = "no-store"
            if message["status"] == 503:
                headers.setdefault("retry-after", str(RETRY_S))
        await send(message)

    return send_with_headers
