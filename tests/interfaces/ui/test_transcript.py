"""What the transcript says of an answer that is not whole, or is none."""

from collections.abc import Callable

import pytest

from interfaces.ui.client.responses import Done, HistoryItem, read_as
from interfaces.ui.drawing.chat import finished_message, transcript_html
from interfaces.ui.tab import Message, Tab
from interfaces.ui.turn import Sending, Turn
from tests.interfaces.ui.tiny_api import done, item

ENDED_EARLY = [
    ("stop", None),
    ("length", None),
    ("cancelled", "stopped"),
    ("timeout", "cut off, as it took too long"),
    ("error", "broken off by a failure of the service"),
]


def shown(message: Message) -> str:
    return transcript_html(Tab(messages=[message]))


def of_turn(text: str, finish_reason: str, cost: int = 2) -> Message:
    """As the page knows it when the stream has ended."""
    turn = Turn(
        sending=Sending(text="Hello", model="m", conversation_id=None, key="k"), model_title="M"
    )
    turn.done = read_as({**done(text), "finish_reason": finish_reason, "cost": cost}, Done)
    return finished_message(turn)


def of_history(text: str, finish_reason: str) -> Message:
    """As the page finds it later."""
    found = {**item("assistant", text, "answered"), "finish_reason": finish_reason}
    return Message.of(read_as(found, HistoryItem))


@pytest.mark.parametrize("message_of", [of_turn, of_history])
@pytest.mark.parametrize(("finish_reason", "words"), ENDED_EARLY)
def test_an_answer_that_ended_early_says_why(
    message_of: Callable[[str, str], Message], finish_reason: str, words: str | None
) -> None:
    html = shown(message_of("Half of an", finish_reason))

    assert "Half of an" in html
    for _, other in ENDED_EARLY:
        if other is not None:
            assert (other in html) is (other == words)


@pytest.mark.parametrize("finish_reason", ["stop", "length"])
def test_an_answer_without_text_says_that_it_cost_nothing(finish_reason: str) -> None:
    html = shown(of_turn("", finish_reason, cost=0))

    assert "The model gave no text; nothing was charged." in html
    assert "The model gave no text" not in shown(of_turn("Some", finish_reason))
