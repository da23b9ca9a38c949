"""How a browser gets a new name when someone signs in or out.

An event of Gradio cannot set a cookie. So it hands its tab a one-time code, and the tab's script
fetches the new cookie with it from a route of the front door. The old name is dead from then on:
whoever knew it, or had planted it, is left with nothing.
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from interfaces.ui.client.sessions import BrowserSession
from interfaces.ui.drawing.pieces import Notice

_CODE_BYTES = 24


@dataclass(frozen=True, kw_only=True)
class Change:
    """Who is behind the browser from now on (nobody without ``session``), and what the page tells
    them first."""

    session: BrowserSession | None = field(default=None, repr=False)
    notice: Notice | None = None
    draft: str = ""


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """browser: the one that may redeem it. code: by which its tab is known when it opens again."""

    change: Change
    until_s: float
    browser: str = ""
    code: str = ""


class Exchanges:
    """The changes under way, at most ``count_max``, each for ``ttl_s``.

    Only somebody whom the API has just let in or out causes one, so strangers cannot fill this up.
    """

    def __init__(self, *, ttl_s: float, count_max: int, monotonic: Callable[[], float]) -> None:
        self._ttl_s = ttl_s
        self._count_max = count_max
        self._monotonic = monotonic
        self._offered: OrderedDict[str, _Kept] = OrderedDict()
        self._arriving: OrderedDict[str, _Kept] = OrderedDict()

    def offer(self, browser: str, change: Change) -> str:
        """A code that redeems ``change``, once, soon, and from this browser alone."""
        code = secrets.token_urlsafe(_CODE_BYTES)
        self._keep(self._offered, code, change, browser=browser)
        return code

    def redeem(self, browser: str, code: str) -> Change | None:
        """The change behind the code, or None."""
        self._drop_old(self._offered)
        kept = self._offered.get(code)
        if kept is None or kept.browser != browser:
            return None
        del self._offered[code]
        return kept.change

    def arrive(self, new_name: str, change: Change, code: str) -> None:
        """Keep what the page is to tell the browser of that name when it opens."""
        self._keep(self._arriving, new_name, change, code=code)

    def arrived(self, browser: str, code: str) -> Change:
        """What to tell the tab that redeemed the code, once. The browser's other tabs, which open
        again at the same moment, are told nothing."""
        self._drop_old(self._arriving)
        kept = self._arriving.get(browser)
        if kept is None or kept.code != code:
            return Change()
        del self._arriving[browser]
        return kept.change

    def _keep(
        self,
        where: OrderedDict[str, _Kept],
        key: str,
        change: Change,
        *,
        browser: str = "",
        code: str = "",
    ) -> None:
        until_s = self._monotonic() + self._ttl_s
        where[key] = _Kept(change=change, until_s=until_s, browser=browser, code=code)
        self._drop_old(where)
        while len(where) > self._count_max:
            where.popitem(last=False)

    def _drop_old(self, where: OrderedDict[str, _Kept]) -> None:
        now_s = self._monotonic()
        while where and next(iter(where.values())).until_s < now_s:
            where.popitem(last=False)
