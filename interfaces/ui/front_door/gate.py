"""What a request must look like to be let in: where it comes from, and what it carries."""

import re
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec
from starlette.datastructures import Headers

from interfaces.exact_json import write_json

Body = TypeVar("Body")
_SESSION_HASH = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ACTION_CHARS_MAX = 500
_HOST = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")
_PORT_MAX = 65_535
# Fetches by this page's own script, and what a person typed into the address bar.
_OWN_SITES = {"same-origin", "none"}


@dataclass(eq=False)
class Refused(Exception):
    """This request is not served; ``detail`` is for whoever sent it."""

    status: int
    detail: str
    retry_after_s: int | None = None


def for_gradio(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers that Gradio gets of a request that was let in.

    ``Origin`` is left out, because Gradio lets some origins read its answers, even with
    credentials. Of ``X-Forwarded-Host``, which Gradio takes for its own address, only the first
    name stays, and only if it can be the name of a host.
    """
    told = []
    for name, value in headers:
        if name == b"x-forwarded-host":
            first = value.partition(b",")[0].strip()
            if _is_host(first.decode("latin-1")):
                told.append((name, first))
        elif name not in {b"origin", b"x-gradio-server"}:
            told.append((name, value))
    return told


def _is_host(text: str) -> bool:
    if not _HOST.fullmatch(text):
        return False
    try:
        port = httpx.URL(f"http://{text}").port
    except httpx.InvalidURL:
        return False
    return port is None or port <= _PORT_MAX


def check_host(headers: Headers, hosts: tuple[str, ...]) -> None:
    """A name that is not the page's may be one that an attacker points here (DNS rebinding).

    Raises Refused.
    """
    host = headers.get("host", "")
    if host and not _is_host(host):
        raise Refused(400, "Host names no host.")
    if hosts and _name_of(host) not in hosts:
        raise Refused(421, "The page is not served under this name; PAGE_HOSTS lists its names.")


def check_origin(headers: Headers) -> None:
    """Only this page's own script may call it. Raises Refused.

    Browsers say themselves where a fetch comes from. One that doesn't, and any that names an
    origin of another host, is judged by the host; the scheme may differ behind a proxy.
    """
    site = headers.get("sec-fetch-site")
    if site is not None and site not in _OWN_SITES:
        raise Refused(403, "Another site may not use this page.")
    origin = headers.get("origin")
    if site is None and origin is not None:
        host = headers.get("host", "")
        if not host or urlsplit(origin).netloc.lower() != host.lower():
            raise Refused(403, "Another site may not use this page.")


def is_from_elsewhere(headers: Headers) -> bool:
    """Whether a link of another site led here."""
    return headers.get("sec-fetch-site", "none") not in _OWN_SITES


def check_session_hash(text: str) -> str:
    """Raises Refused."""
    if not _SESSION_HASH.fullmatch(text):
        raise Refused(422, "session_hash must be 1 to 64 letters, digits, hyphens or underscores.")
    return text


class Join(msgspec.Struct, kw_only=True):
    """An event as Gradio's script sends it. What else it sends is not used here."""

    session_hash: str
    fn_index: int
    data: list[str | None]
    event_data: Any = None


class Exchange(msgspec.Struct, kw_only=True):
    code: str = ""


def read_join(body: bytes, inputs: dict[int, tuple[int, ...]]) -> Join:
    """An event that its handler can take. ``inputs`` bounds the characters of its values.

    Raises Refused.
    """
    join = _read(body, Join)
    check_session_hash(join.session_hash)
    wanted = inputs.get(join.fn_index)
    if wanted is None:
        raise Refused(422, "fn_index names no event of this page; reload it.")
    if len(join.data) != len(wanted):
        raise Refused(422, f"data must have {len(wanted)} values for this event.")
    for text, chars_max in zip(join.data, wanted, strict=True):
        if text is not None and len(text) > chars_max:
            raise Refused(422, f"A text is too long: it may have {chars_max:,} characters.")
    return join


def write_join(join: Join) -> bytes:
    """The event for Gradio, with nothing in it but what the handlers read."""
    pressed = join.event_data if isinstance(join.event_data, dict) else {}
    return write_json(
        {
            "session_hash": join.session_hash,
            "fn_index": join.fn_index,
            "data": [text or "" for text in join.data],
            "event_data": {
                name: pressed[name][:_ACTION_CHARS_MAX]
                for name in ("action", "value")
                if isinstance(pressed.get(name), str)
            },
        }
    )


def read_exchange(body: bytes) -> Exchange:
    """Raises Refused."""
    return _read(body, Exchange)


def _read(body: bytes, kind: type[Body]) -> Body:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise Refused(422, f"The body is not as expected: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(400, "The body is not JSON.") from None


def _name_of(host: str) -> str:
    """``localhost`` of ``localhost:7861``, ``[::1]`` of ``[::1]:7861``."""
    name, colon, port = host.lower().rpartition(":")
    return (name if colon and port.isdigit() else host.lower()).rstrip(".")
