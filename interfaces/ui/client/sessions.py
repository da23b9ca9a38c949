"""Who is behind a browser: tokens stay in this process, the browser holds a random name for them.

The name is a cookie that scripts cannot read and that ends with the browser session. It carries a
MAC under a key of this process, so that only names given out here are accepted and a visitor who
never signs in takes no room.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie

from interfaces.ui.client.responses import Person, TokenPair

COOKIE_NAME = "chatledger_browser"
# A browser takes this one over HTTPS alone, for this host alone and from nobody else (RFC 6265bis).
SECURE_COOKIE_NAME = f"__Host-{COOKIE_NAME}"
_NAME_BYTES = 24


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """A token pair and when its access token ends, on the monotonic clock in seconds."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    expires_at_s: float

    @classmethod
    def of(cls, pair: TokenPair, now_s: float) -> "Tokens":
        """The pair as it came at ``now_s``."""
        return cls(
            access=pair.access_token,
            refresh=pair.refresh_token,
            expires_at_s=now_s + pair.expires_in,
        )


@dataclass(kw_only=True, eq=False)
class BrowserSession:
    """One signed-in browser, shared by all of its tabs."""

    tokens: Tokens | None = None
    person: Person | None = None
    position: str = ""
    """The last ``Ledger-Position`` of a command: queries wait until they show it."""
    refreshing: "asyncio.Task[Tokens] | None" = field(default=None, repr=False)
    """The one renewal under way: a refresh token may be used only once."""
    last_seen_s: float = 0.0
    address: str = ""
    """Where the browser was when it was last heard of."""

    def saw_position(self, position: str | None) -> None:
        """Keep the furthest position; answers may arrive in another order than their commits."""
        if not position:
            return
        if position.isdigit() and self.position.isdigit() and int(position) < int(self.position):
            return
        self.position = position

    def forget(self) -> None:
        """Drop everything that lets this process act for the person."""
        self.tokens = None
        self.person = None
        self.position = ""


class BrowserSessions:
    """The signed-in browsers, at most ``count_max``, each for ``idle_s`` after its last use."""

    def __init__(
        self,
        *,
        idle_s: float,
        count_max: int,
        monotonic: Callable[[], float],
        per_person_max: int = 20,
        key: bytes = b"",
    ) -> None:
        self._idle_s = idle_s
        self._per_person_max = per_person_max
        self._count_max = count_max
        self._monotonic = monotonic
        self._key = key or secrets.token_bytes(32)
        self._sessions: OrderedDict[str, BrowserSession] = OrderedDict()
        self._retired: OrderedDict[str, None] = OrderedDict()

    @property
    def count(self) -> int:
        """How many browsers are remembered."""
        return len(self._sessions)

    def new_name(self) -> str:
        """A fresh value for the cookie."""
        name = secrets.token_urlsafe(_NAME_BYTES)
        return f"{name}.{self._mac(name)}"

    def is_ours(self, name: str) -> bool:
        """Whether this process gave the name out and has not retired it."""
        text, _, mac = name.partition(".")
        is_given = name.isascii() and bool(text) and hmac.compare_digest(mac, self._mac(text))
        return is_given and name not in self._retired

    def signed_in(self, name: str) -> BrowserSession | None:
        """The session of a browser that is signed in; looking does not count as a use."""
        session = self._sessions.get(name)
        return session if session is not None and session.tokens is not None else None

    def find(self, name: str) -> BrowserSession:
        """The browser's session; a browser that is not signed in gets an empty, unkept one."""
        now_s = self._monotonic()
        while self._sessions:
            oldest = next(iter(self._sessions))
            if now_s - self._sessions[oldest].last_seen_s <= self._idle_s:
                break
            self._sessions.pop(oldest).forget()
        session = self._sessions.get(name)
        if session is None:
            return BrowserSession(last_seen_s=now_s)
        session.last_seen_s = now_s
        self._sessions.move_to_end(name)
        return session

    def keep(self, name: str, session: BrowserSession) -> None:
        """Remember a session that has signed in.

        The one longest unused gives way: one of the same person, who may have only so many, so
        that nobody can crowd out the others.
        """
        session.last_seen_s = self._monotonic()
        own = [
            other
            for other, one in self._sessions.items()
            if one.person and one.person == session.person
        ]
        for other in own[: max(0, len(own) + 1 - self._per_person_max)]:
            self.drop(other)
        self._sessions[name] = session
        self._sessions.move_to_end(name)
        while len(self._sessions) > self._count_max:
            self._sessions.popitem(last=False)[1].forget()

    def drop(self, name: str) -> None:
        """Forget a session for good."""
        session = self._sessions.pop(name, None)
        if session is not None:
            session.forget()

    def retire(self, name: str) -> None:
        """Let nobody in by this name again.

        When there are too many such names the oldest is forgotten. By then it belongs to nobody who
        is signed in, so it lets its owner in as a stranger at most.
        """
        self.drop(name)
        self._retired[name] = None
        while len(self._retired) > self._count_max:
            self._retired.popitem(last=False)

    def _mac(self, name: str) -> str:
        return hmac.new(self._key, name.encode(), hashlib.sha256).hexdigest()


def browser_name(cookie_header: str | None, cookie: str = COOKIE_NAME) -> str:
    """The browser's name out of a Cookie header; empty where there is none."""
    try:
        morsel = SimpleCookie(cookie_header or "").get(cookie)
    except CookieError:
        return ""
    return morsel.value if morsel else ""
