"""Opening the page, signing in and out, creating an account."""

import gradio as gr

from interfaces.ui.client.errors import SignedOut, UiError
from interfaces.ui.client.responses import Balance, Conversations, Model, Models, Person
from interfaces.ui.client.sessions import BrowserSession
from interfaces.ui.drawing.formats import credits_phrase
from interfaces.ui.drawing.pieces import Notice
from interfaces.ui.front_door.code_exchange import Change
from interfaces.ui.handlers.views import Updates, Views
from interfaces.ui.page import Page, Visit


class EntryHandlers:
    """Handlers of everything around being signed in."""

    def __init__(self, page: Page, views: Views) -> None:
        self._page = page
        self._views = views

    async def open(self, code: str, request: gr.Request) -> Updates:
        """The page was loaded: a signed-in browser goes straight in. code: the one with which this
        tab has just fetched the browser's new name, or empty."""
        visit = self._page.visit(request)
        told = self._page.exchanges.arrived(visit.browser, code)
        visit.tab.draft = told.draft or visit.tab.draft
        try:
            if visit.session.tokens is None:
                return self._views.signed_out(await self._public_models(visit), told.notice)
            shown = await self.enter(visit)
            return {**shown, **self._views.notice(told.notice)}
        except SignedOut:
            return self._views.signed_out(visit.tab.models)
        except UiError as error:
            shown = self._views.error(error, visit.tab)
            if visit.session.tokens is None:
                return {**self._views.signed_out(visit.tab.models), **shown}
            return shown

    async def sign_in(self, name: str, password: str, request: gr.Request) -> Updates:
        """Open a session for a known person."""
        visit = self._page.visit(request)
        if not name.strip() or not password:
            return self._views.notice(
                Notice(kind="warning", text="Fill in your username or e-mail and your password.")
            )
        try:
            session = BrowserSession(address=visit.session.address)
            await self._sign_in(session, name.strip(), password)
        except UiError as error:
            return self._views.error(error, visit.tab)
        return self._let_in(visit, session)

    async def register(self, name: str, email: str, password: str, request: gr.Request) -> Updates:
        """Create an account and go in with it."""
        visit = self._page.visit(request)
        if not (name.strip() and email.strip() and password):
            return self._views.notice(
                Notice(kind="warning", text="Fill in a username, an e-mail address and a password.")
            )
        try:
            session = BrowserSession(address=visit.session.address)
            await self._page.api.register(session, name.strip(), email.strip(), password)
            await self._sign_in(session, name.strip(), password)
            balance = await self._balance(session)
        except UiError as error:
            return self._views.error(error, visit.tab)
        welcome = f"Welcome, {name.strip()}."
        if balance.available:
            welcome += f" Your account starts with {credits_phrase(balance.available)}."
        return self._let_in(visit, session, Notice(kind="success", text=welcome))

    async def sign_out(self, request: gr.Request) -> Updates:
        """End the session here and at the API."""
        page, visit = self._page, self._page.visit(request)
        if visit.session.tokens is None:
            return self._views.signed_out(visit.tab.models)
        page.tabs.drop(visit.browser, but=visit.session_hash)
        visit.tab.stop()
        await page.api.sign_out(visit.session)
        page.sessions.drop(visit.browser)
        visit.tab.forget()
        notice = Notice(kind="success", text="You are signed out.")
        code = page.exchanges.offer(visit.browser, Change(notice=notice))
        return {
            **self._views.signed_out(visit.tab.models, notice),
            **self._views.exchange(code),
        }

    async def enter(self, visit: Visit) -> Updates:
        """Read all that the page shows to somebody who is signed in. Raises UiError."""
        api, session, tab = self._page.api, visit.session, visit.tab
        if session.person is None:
            session.person = await api.get(session, "/auth/me", Person)
        tab.owner = session.person.username
        tab.models = (await api.public(session, "/chat/models", Models)).items
        await load_conversations(self._page, visit)
        balance = await self._balance(session)
        draft, tab.draft = tab.draft, ""
        return self._views.signed_in(tab, balance, draft)

    async def _sign_in(self, session: BrowserSession, name: str, password: str) -> None:
        await self._page.api.sign_in(session, name, password)
        session.person = await self._page.api.get(session, "/auth/me", Person)

    def _let_in(
        self, visit: Visit, session: BrowserSession, notice: Notice | None = None
    ) -> Updates:
        """Give the browser a new name; the page then opens again, with nothing of before in it."""
        assert session.person is not None, "whoever has signed in was asked for"
        is_back = visit.tab.owner == session.person.username
        draft = visit.tab.draft if is_back else ""
        change = Change(session=session, notice=notice, draft=draft)
        return self._views.exchange(self._page.exchanges.offer(visit.browser, change))

    async def _balance(self, session: BrowserSession) -> Balance:
        return await self._page.api.get(session, "/billing/balance", Balance)

    async def _public_models(self, visit: Visit) -> list[Model]:
        response = await self._page.api.public(visit.session, "/chat/models", Models)
        visit.tab.models = response.items
        return response.items


async def load_conversations(page: Page, visit: Visit, *, more: bool = False) -> None:
    """Read the first conversations, or the next ones. Raises UiError."""
    tab = visit.tab
    response = await page.api.get(
        visit.session,
        "/chat/conversations",
        Conversations,
        limit=page.settings.conversations_page,
        cursor=tab.conversations_cursor if more else None,
    )
    tab.conversations = [*tab.conversations, *response.items] if more else list(response.items)
    tab.conversations_cursor = response.next_cursor
