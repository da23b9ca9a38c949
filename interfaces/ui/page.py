"""The state behind every handler: the client, the browsers, and each open tab."""

import secrets
import uuid
from dataclasses import dataclass
from typing import Any

from interfaces.ui.client.api import Api
from interfaces.ui.client.sessions import BrowserSession, BrowserSessions
from interfaces.ui.client.settings import UiSettings
from interfaces.ui.front_door.code_exchange import Exchanges
from interfaces.ui.front_door.open_tabs import OpenTabs
from interfaces.ui.front_door.visitor import visitor_of
from interfaces.ui.tab import Tab


@dataclass(frozen=True, kw_only=True)
class Visit:
    """One event's view of who caused it."""

    browser: str
    session: BrowserSession
    tab: Tab
    session_hash: str


class Page:
    """What the handlers share."""

    def __init__(
        self,
        settings: UiSettings,
        api: Api,
        sessions: BrowserSessions,
        tabs: OpenTabs,
        exchanges: Exchanges,
    ) -> None:
        self.settings = settings
        self.api = api
        self.sessions = sessions
        self.tabs = tabs
        self.exchanges = exchanges

    def visit(self, request: Any) -> Visit:
        """Who is behind a ``gradio.Request``, which the front door has let in.

        Where nobody is signed in, the tab has nothing of anybody.
        """
        visitor, session_hash = visitor_of(request), str(request.session_hash or "")
        session = self.sessions.find(visitor.browser)
        session.address = visitor.address
        tab = self.tabs.find(session_hash, visitor.browser) or Tab()
        if session.tokens is None:
            tab.forget()
        return Visit(browser=visitor.browser, session=session, tab=tab, session_hash=session_hash)

    def leave(self, request: Any) -> None:
        """The tab was closed: stop what it waits for.

        What it shows is kept for a while, because a sleeping laptop looks just the same.
        """
        tab = self.tabs.find(str(request.session_hash or ""), visitor_of(request).browser)
        if tab is not None:
            tab.stop()
            tab.turn = None


def new_key() -> str:
    """A fresh Idempotency-Key."""
    return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
