"""One question and its answer as events arrive."""

import asyncio
from decimal import Decimal

import httpx
import pytest

from interfaces.ui.client.api import Api, http_client
from interfaces.ui.client.errors import ApiProblem, ApiUnreachable
from interfaces.ui.client.sessions import BrowserSession
from interfaces.ui.client.settings import UiSettings
from interfaces.ui.client.sse import ServerEvent
from interfaces.ui.turn import Sending, Turn, follow
from tests.interfaces.ui.tiny_api import CONVERSATION, TinyApi


def new_turn(text: str = "Hi") -> Turn:
    sending = Sending(text=text, model="gemma3-270m", conversation_id=None, key="key-1")
    return Turn(sending=sending, model_title="Gemma 3 270M")


async def ask(tiny: TinyApi, turn: Turn) -> BrowserSession:
    settings = UiSettings(api_url="http://api.test")
    async with http_client(settings, httpx.ASGITransport(app=tiny.app)) as http:
        api, session = Api(http, settings, lambda: 0.0), BrowserSession()
        await api.sign_in(session, "grace", "right")
        await follow(api, session, turn)
        return session


async def test_an_answer_ends_with_its_cost_and_moves_the_position() -> None:
    turn, tiny = new_turn(), TinyApi()
    session = await ask(tiny, turn)
    assert turn.text == "Hello there."
    assert turn.done is not None
    assert (turn.done.cost, turn.done.balance.available) == (Decimal(2), Decimal(96))
    assert turn.done.conversation_id == CONVERSATION
    assert session.position == "43"
    assert tiny.keys == ["key-1"]


async def test_a_stale_token_is_renewed_and_the_message_sent_under_the_same_key() -> None:
    turn, tiny = new_turn(), TinyApi()
    tiny.access_ok = False
    await ask(tiny, turn)
    assert turn.done is not None
    assert (tiny.refreshes, tiny.keys) == (1, ["key-1"])


async def test_a_refusal_is_read_from_the_turn() -> None:
    turn = new_turn("poor")
    await ask(TinyApi(), turn)
    assert isinstance(turn.error, ApiProblem)
    assert (turn.error.code, turn.started) == ("insufficient_credits", None)


def test_a_failure_in_the_middle_ends_the_turn() -> None:
    turn = new_turn()
    turn.apply(ServerEvent(name="delta", data='{"text": "Hel"}'))
    turn.apply(ServerEvent(name="surprise", data="whatever"))
    assert not turn.is_over
    turn.apply(ServerEvent(name="error", data='{"status": 503, "code": "generation_failed"}'))
    assert turn.is_over
    assert isinstance(turn.error, ApiProblem)
    assert turn.error.status == 503


async def test_a_service_that_is_not_there_leaves_the_key_for_the_next_try() -> None:
    settings = UiSettings(api_url="http://127.0.0.1:9", connect_timeout_s=2)
    turn, tiny = new_turn(), TinyApi()
    session = await ask(tiny, new_turn())
    async with http_client(settings) as http:
        await follow(Api(http, settings, lambda: 0.0), session, turn)
    assert isinstance(turn.error, ApiUnreachable)
    assert turn.sending.is_same_message("Hi", "gemma3-270m", None)
    assert not turn.sending.is_same_message("Hi!", "gemma3-270m", None)


async def test_cancelling_the_task_marks_the_turn_as_stopped() -> None:
    turn, tiny = new_turn(), TinyApi(hold_open=True)
    task = asyncio.create_task(ask(tiny, turn))
    await tiny.message_came.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert turn.stopped
    assert turn.is_over
    assert turn.error is None
