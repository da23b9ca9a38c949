"""Asking, streaming and stopping: the way of one message through the page."""

import asyncio
from collections.abc import AsyncIterator

import gradio as gr

from interfaces.ui.client.errors import ApiProblem, ApiUnreachable, SignedOut, UiError
from interfaces.ui.client.responses import Balance, History
from interfaces.ui.drawing.chat import finished_message, live_html
from interfaces.ui.drawing.pieces import Notice, notice_of
from interfaces.ui.handlers.entry import load_conversations
from interfaces.ui.handlers.views import Updates, Views, nothing
from interfaces.ui.page import Page, Visit, new_key
from interfaces.ui.tab import Message, Tab
from interfaces.ui.turn import Sending, Turn, follow

_LEFT_ALONE = Notice(
    kind="info", text="This page was left for a long time.", actions=(("Go on", "retry"),)
)
_NO_MODEL = Notice(kind="warning", text="Choose a model that can answer.")
_NOTHING_TO_SEND = Notice(kind="warning", text="Write a message first.")
_TRY_AGAIN = (("Try again", "retry"),)
_KEPT = "Your message is still in the box: send it again when the service is back."
_LOST = (
    "The connection was lost while the model was answering. Try again to see what was delivered; "
    "you are never charged twice for one message."
)


class ChatHandlers:
    """Handlers of the composer and of what it causes."""

    def __init__(self, page: Page, views: Views) -> None:
        self._page = page
        self._views = views

    async def begin(self, text: str, model_name: str | None, request: gr.Request) -> Updates:
        """Send a message; ``grow`` and ``finish`` follow as events of their own.

        They are three, because Gradio works on every output of an event at each of its updates:
        only ``grow`` has many updates, and it has few outputs.
        """
        visit = self._page.visit(request)
        tab, ui = visit.tab, self._views.ui
        model = tab.model(model_name)
        if visit.session.tokens is None:
            if tab.owner:
                tab.draft = text
            return self._views.error(SignedOut(), tab)
        if tab.is_busy:
            return nothing()
        if not tab.models:
            return self._views.notice(_LEFT_ALONE)
        if not text.strip():
            return self._views.notice(_NOTHING_TO_SEND)
        if model is None or not model.is_usable:
            return self._views.notice(_NO_MODEL)
        tab.turn = Turn(sending=self._sending(tab, text, model.name), model_title=model.title)
        tab.pump = asyncio.create_task(follow(self._page.api, visit.session, tab.turn))
        return {
            ui.prompt: "",
            **self._views.notice(None),
            **self._views.conversation(tab),
            **self._views.busy(tab, is_busy=True),
        }

    async def grow(self, request: gr.Request) -> AsyncIterator[Updates]:
        """Show the answer as it grows, and the credits that are held for it."""
        yield nothing()  # A generator that yields nothing at all would empty its outputs.
        visit = self._page.visit(request)
        turn = visit.tab.turn
        if turn is None or turn.is_shown:
            return
        turn.is_shown = True
        is_held = False
        while not turn.is_over:
            await turn.changed.wait()
            turn.changed.clear()
            if turn.is_over:
                return
            update: Updates = {self._views.ui.live: live_html(turn)}
            if turn.started is not None and not is_held:
                is_held = True
                visit.tab.conversation_id = turn.started.conversation_id
                update.update(await self._balance(visit))
            yield update
            await asyncio.sleep(self._page.settings.stream_interval_s)

    async def finish(self, request: gr.Request) -> Updates:
        """The page after the answer, whatever became of it."""
        visit = self._page.visit(request)
        turn = visit.tab.turn
        if visit.session.tokens is None:
            return self._signed_out(visit.tab)
        if turn is None or not turn.is_over or turn.is_finishing:
            return nothing()
        turn.is_finishing = True
        try:
            return await self._finished(visit, turn)
        finally:
            if visit.tab.turn is turn:
                visit.tab.turn = None

    async def stop(self, request: gr.Request) -> Updates:
        """End the answer under way; ``finish`` shows what is left of it."""
        self._page.visit(request).tab.stop()
        return {self._views.ui.stop: gr.update(interactive=False)}

    async def leave(self, request: gr.Request) -> None:
        """The tab was closed, or its connection lost."""
        self._page.leave(request)

    def _sending(self, tab: Tab, text: str, model: str) -> Sending:
        unsent, tab.unsent = tab.unsent, None
        if unsent is not None and unsent.is_same_message(text, model, tab.conversation_id):
            return unsent
        return Sending(text=text, model=model, conversation_id=tab.conversation_id, key=new_key())

    def _signed_out(self, tab: Tab) -> Updates:
        return {**self._views.error(SignedOut(), tab), **self._views.busy(tab, is_busy=False)}

    async def _finished(self, visit: Visit, turn: Turn) -> Updates:
        tab = visit.tab
        if isinstance(turn.error, SignedOut):
            return self._signed_out(tab)
        if turn.started is None and turn.done is None:
            return await self._never_started(visit, turn)
        notice: Notice | None = None
        if turn.done is not None:
            tab.conversation_id = turn.done.conversation_id
            tab.messages += [_question(turn), finished_message(turn)]
        elif turn.stopped:
            tab.messages += await self._stopped_messages(visit, turn)
        else:
            assert turn.error is not None
            is_lost = isinstance(turn.error, ApiUnreachable)
            tab.messages.append(_question(turn, "pending" if is_lost else "failed"))
            notice = notice_of(turn.error)
            if is_lost:
                notice = Notice(kind="error", text=_LOST, actions=_TRY_AGAIN)
        try:
            await load_conversations(self._page, visit)
        except SignedOut:
            return self._signed_out(tab)
        except UiError as error:
            notice = notice or notice_of(error)
        done = turn.done
        balance = self._views.balance(done.balance) if done else await self._balance(visit)
        tab.turn = None
        return {
            **self._views.conversation(tab),
            **self._views.busy(tab, is_busy=False),
            **balance,
            **self._views.notice(notice),
        }

    async def _never_started(self, visit: Visit, turn: Turn) -> Updates:
        """The message was refused or not delivered: it goes back into the box."""
        tab = visit.tab
        notice = notice_of(turn.error) if turn.error is not None else None
        if isinstance(turn.error, ApiUnreachable):
            tab.unsent = turn.sending
            notice = Notice(kind="error", text=f"{turn.error} {_KEPT}", actions=_TRY_AGAIN)
        balance = await self._balance(visit) if isinstance(turn.error, ApiProblem) else {}
        tab.turn = None
        return {
            **self._views.conversation(tab),
            **self._views.busy(tab, is_busy=False),
            **balance,
            **self._views.notice(notice),
            self._views.ui.prompt: turn.sending.text,
        }

    async def _stopped_messages(self, visit: Visit, turn: Turn) -> list[Message]:
        """The question and the part of the answer that was kept, once the API has booked it.

        Before its first token an answer is not kept: then the question counts as unanswered.
        """
        started = turn.started
        assert started is not None
        settings = self._page.settings
        for _ in range(max(1, int(settings.settle_timeout_s / settings.settle_interval_s))):
            try:
                history = await self._page.api.get(
                    visit.session,
                    "/chat/history",
                    History,
                    conversation_id=started.conversation_id,
                    limit=2,
                )
            except UiError:
                break
            newest = history.items[0] if history.items else None
            if newest is not None and newest.message_id == started.message_id:
                return [_question(turn), Message.of(newest)]
            if newest is not None and newest.role == "user" and newest.status == "failed":
                return [_question(turn, "failed")]
            await asyncio.sleep(settings.settle_interval_s)
        return [_question(turn, "pending")]

    async def _balance(self, visit: Visit) -> Updates:
        """The credits as the API has them now; where it can't say, what is shown stays."""
        try:
            balance = await self._page.api.get(visit.session, "/billing/balance", Balance)
        except UiError:
            return {}
        return self._views.balance(balance)


def _question(turn: Turn, status: str = "answered") -> Message:
    return Message(message_id="", role="user", text=turn.sending.text, status=status)
