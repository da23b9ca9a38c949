"""Opening the page, signing in and out, creating an account."""

import gradio as gr

from interfaces.ui.draw import Notice
from interfaces.ui.errors import SignedOut, UiError
from interfaces.ui.formats import credits_phrase
from interfaces.ui.page import Page, Tab, Visit
from interfaces.ui.sessions import BrowserSession
from interfaces.ui.views import Updates, Views
from interfaces.ui.wire import Balance, Conversations, Model, Models, Person

NO_COOKIES = Notice(
    kind="error",
    text="This page needs a cookie to remember that you are signed in: "
    "allow cookies for this address and reload the page.",
)


class DoorHandlers:
    """Handlers of everything around being signed in."""

    def __init__(self, page: Page, views: Views) -> None:
        self._page = page
        self._views = views

    async def open(self, request: gr.Request) -> Updates:
        """The page was loaded: a signed-in browser goes straight in."""
        visit = self._page.visit(request)
        try:
            if visit.session.tokens is None:
                return self._views.signed_out(await self._public_models(visit.tab))
            return await self.enter(visit)
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
        if not visit.browser:
            return self._views.notice(NO_COOKIES)
        if not name.strip() or not password:
            return self._views.notice(
                Notice(kind="warning", text="Fill in your username or e-mail and your password.")
            )
        try:
            return await self._signed_in(visit, name.strip(), password)
        except UiError as error:
            return self._views.error(error, visit.tab)

    async def register(self, name: str, email: str, password: str, request: gr.Request) -> Updates:
        """Create an account and go in with it."""
        visit = self._page.visit(request)
        if not visit.browser:
            return self._views.notice(NO_COOKIES)
        if not (name.strip() and email.strip() and password):
            return self._views.notice(
                Notice(kind="warning", text="Fill in a username, an e-mail address and a password.")
            )
        try:
            fresh = BrowserSession()
            await self._page.api.register(fresh, name.strip(), email.strip(), password)
            shown = await self._signed_in(visit, name.strip(), password, fresh)
            balance = await self._balance(fresh)
        except UiError as error:
            return self._views.error(error, visit.tab)
        welcome = f"Welcome, {name.strip()}."
        if balance.available:
            welcome += f" Your account starts with {credits_phrase(balance.available)}."
        return {**shown, **self._views.notice(Notice(kind="success", text=welcome))}

    async def sign_out(self, request: gr.Request) -> Updates:
        """End the session here and at the API."""
        visit = self._page.visit(request)
        visit.tab.stop()
        await self._page.api.sign_out(visit.session)
        self._page.sessions.drop(visit.browser)
        visit.tab.close_conversation()
        return self._views.signed_out(
            visit.tab.models, Notice(kind="success", text="You are signed out.")
        )

    async def enter(self, visit: Visit) -> Updates:
        """Read what the room shows. Raises UiError."""
        api, session, tab = self._page.api, visit.session, visit.tab
        if session.person is None:
            session.person = await api.get(session, "/auth/me", Person)
        tab.models = (await api.public("/chat/models", Models)).items
        await load_conversations(self._page, visit)
        return self._views.signed_in(session.person.username, tab, await self._balance(session))

    async def _signed_in(
        self, visit: Visit, name: str, password: str, session: BrowserSession | None = None
    ) -> Updates:
        session = session or BrowserSession()
        await self._page.api.sign_in(session, name, password)
        self._page.sessions.keep(visit.browser, session)
        visit.tab.close_conversation()
        return await self.enter(Visit(browser=visit.browser, session=session, tab=visit.tab))

    async def _balance(self, session: BrowserSession) -> Balance:
        return await self._page.api.get(session, "/billing/balance", Balance)

    async def _public_models(self, tab: Tab) -> list[Model]:
        tab.models = (await self._page.api.public("/chat/models", Models)).items
        return tab.models


async def load_conversations(page: Page, visit: Visit, *, more: bool = False) -> None:
    """Read the first conversations, or the next ones. Raises UiError."""
    tab = visit.tab
    answer = await page.api.get(
        visit.session,
        "/chat/conversations",
        Conversations,
        limit=page.settings.conversations_page,
        cursor=tab.conversations_cursor if more else None,
    )
    tab.conversations = [*tab.conversations, *answer.items] if more else list(answer.items)
    tab.conversations_cursor = answer.next_cursor
