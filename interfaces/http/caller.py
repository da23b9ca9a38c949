"""The address of a caller, by which callers are counted, slowed down and named in logs."""

import time
from collections.abc import Callable

import structlog

from interfaces.web.client_address import UNKNOWN, site_of
from interfaces.web.visitor_address import signed_address

log = structlog.get_logger()


class CallerAddresses:
    """key: the page's, which signs its visitors' addresses with it. A signature is good for 60 s,
    so somebody who can read the page's own requests to the API could use one for a minute. now_s:
    seconds since 1970."""

    def __init__(self, key: bytes, now_s: Callable[[], float] = time.time) -> None:
        self._key = key
        self._now_s = now_s
        self._told = False

    def of(self, connection: str | None, header: str | None) -> str:
        """connection: the address that the connection comes from. header: what a page sends that
        calls for a visitor; it is ignored unless the page has signed it."""
        if header is not None:
            visitor = signed_address(header, self._key, self._now_s())
            if visitor is not None:
                return site_of(visitor)
            self._tell_once()
        return site_of(connection or UNKNOWN)

    def _tell_once(self) -> None:
        if not self._told:
            self._told = True
            log.warning(
                "visitor_address_not_believed",
                advice="page and API need the same SECRET_KEY and clocks that agree; a request"
                " with such a header counts for the address of its connection",
            )
