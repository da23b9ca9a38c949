"""The tabs that are open, whose they are, and how many anybody may have.

A tab is known by the random ``session_hash`` that Gradio's script gives it, and belongs to the
browser that used it first. Visitors who have not signed in share a room of their own, so however
many they are, they take none from anybody who has.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from interfaces.ui.client.sessions import BrowserSessions
from interfaces.ui.client.settings import UiSettings
from interfaces.ui.front_door.visitor import Visitor
from interfaces.ui.tab import Tab


class TabRefused(Exception):
    """A tab cannot be opened or used; the text says why."""


class UnknownTab(TabRefused):
    """Not a tab of this browser."""


class TooManyTabs(TabRefused):
    """There is no room for one more tab, or one more stream of it."""


@dataclass(kw_only=True, eq=False)
class OpenTab:
    """A tab in its place. ``streams`` counts its connections that stay open."""

    session_hash: str
    visitor: Visitor
    seen_s: float
    tab: Tab = field(default_factory=Tab)
    streams: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the tab has lost its place: its streams end."""


class OpenTabs:
    """At most ``tabs_max`` tabs of people and ``anonymous_tabs_max`` of visitors."""

    def __init__(
        self,
        settings: UiSettings,
        sessions: BrowserSessions,
        monotonic: Callable[[], float],
        on_drop: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._monotonic = monotonic
        self._on_drop = on_drop
        self._open: dict[str, OpenTab] = {}

    def __len__(self) -> int:
        return len(self._open)

    def claim(self, session_hash: str, visitor: Visitor) -> OpenTab:
        """The visitor's tab of that hash, opened when there was none.

        Raises UnknownTab when it is another browser's, TooManyTabs when there is no room.
        """
        found = self._open.get(session_hash)
        if found is None:
            self._make_room(visitor)
            found = OpenTab(session_hash=session_hash, visitor=visitor, seen_s=self._monotonic())
            self._open[session_hash] = found
        return self.use(session_hash, visitor)

    def use(self, session_hash: str, visitor: Visitor) -> OpenTab:
        """The visitor's tab of that hash. Raises UnknownTab."""
        found = self._open.get(session_hash)
        if found is None or found.visitor.browser != visitor.browser:
            raise UnknownTab("There is no such tab; reload the page.")
        found.seen_s = self._monotonic()
        return found

    def saw(self, opened: OpenTab) -> None:
        """The tab was in use until now."""
        opened.seen_s = self._monotonic()

    def find(self, session_hash: str, browser: str) -> Tab | None:
        """What that tab of that browser shows."""
        found = self._open.get(session_hash)
        return found.tab if found is not None and found.visitor.browser == browser else None

    def of_same_owner(self, visitor: Visitor) -> list[str]:
        """The hashes of all tabs that count together with the visitor's."""
        owner = self._owner(visitor)
        return [
            one.session_hash for one in self._open.values() if self._owner(one.visitor) == owner
        ]

    def drop(self, browser: str, *, but: str = "") -> None:
        """Close all tabs of a browser, but for one."""
        for one in list(self._open.values()):
            if one.visitor.browser == browser and one.session_hash != but:
                self._drop(one)

    def _make_room(self, visitor: Visitor) -> None:
        settings, owner = self._settings, self._owner(visitor)
        is_person = owner[0] == "person"
        pool_max = settings.tabs_max if is_person else settings.anonymous_tabs_max
        own_max = settings.tabs_per_person_max if is_person else settings.tabs_per_address_max
        self._keep_below(
            settings.tabs_per_browser_max,
            lambda one: one.visitor.browser == visitor.browser,
            "This browser has too many tabs of this page open; close some, and reload in a minute.",
        )
        self._keep_below(
            own_max,
            lambda one: self._owner(one.visitor) == owner,
            "Too many tabs are open "
            + ("in your name" if is_person else "from your network")
            + "; close some, or try again in a minute.",
        )
        self._keep_below(
            pool_max,
            lambda one: self._owner(one.visitor)[0] == owner[0],
            "Too many people have this page open; try again in a minute.",
        )

    def _keep_below(self, bound: int, counts: Callable[[OpenTab], bool], refusal: str) -> None:
        """When all places are taken, close the tab that was left longest ago. Raises TooManyTabs
        when none was left."""
        counted = [one for one in self._open.values() if counts(one)]
        if len(counted) < bound:
            return
        left = min(self._left(counted), key=lambda one: one.seen_s, default=None)
        if left is None:
            raise TooManyTabs(refusal)
        self._drop(left)

    def _left(self, tabs: list[OpenTab]) -> Iterator[OpenTab]:
        """Tabs that nobody looks at: without a connection for a while, and without an answer."""
        before_s = self._monotonic() - self._settings.tab_left_s
        return (
            one for one in tabs if not one.streams and not one.tab.is_busy and one.seen_s < before_s
        )

    def _drop(self, one: OpenTab) -> None:
        one.tab.stop()
        one.gone.set()
        del self._open[one.session_hash]
        self._on_drop(one.session_hash)

    def _owner(self, visitor: Visitor) -> tuple[str, str]:
        session = self._sessions.signed_in(visitor.browser)
        if session is None:
            return "address", visitor.network
        return "person", session.person.username if session.person else visitor.browser
