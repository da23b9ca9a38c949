"""Refusals that a web server sends by itself, before the application sees the request."""

from dataclasses import dataclass

from interfaces.exact_json import write_json


@dataclass(frozen=True)
class Refused:
    """A whole response, after which the connection ends: a problem document (RFC 9457)."""

    status: int
    title: str
    code: str
    detail: str

    @property
    def body(self) -> bytes:
        document = {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        return write_json(document)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(self.body)).encode()),
            (b"retry-after", b"2"),
            (b"connection", b"close"),
        ]

    def __bytes__(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} {self.title}".encode()]
        lines += [name + b": " + value for name, value in self.headers]
        return b"\r\n".join([*lines, b"", self.body])


TOO_MANY_CONNECTIONS = Refused(
    503, "Service Unavailable", "too_many_connections", "too many connections; try again shortly"
)
TOO_MANY_REQUESTS_OPEN = Refused(
    503, "Service Unavailable", "too_many_requests_open", "too many requests at once; try again"
)
REQUEST_TIMEOUT = Refused(
    408, "Request Timeout", "request_timeout", "the request did not arrive in time; send it again"
)
