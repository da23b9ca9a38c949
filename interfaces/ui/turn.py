"""One question and its answer while it is under way."""

import asyncio
from dataclasses import dataclass, field

from interfaces.ui.client.api import Api
from interfaces.ui.client.errors import ApiProblem, ApiUnreachable, UiError
from interfaces.ui.client.responses import Delta, Done, Started, read_as, read_response
from interfaces.ui.client.sessions import BrowserSession
from interfaces.ui.client.sse import ServerEvent

MESSAGE_PATH = "/chat/message"


@dataclass(frozen=True, kw_only=True)
class Sending:
    """A message about to be sent. The key stays the same when it has to be sent again."""

    text: str
    model: str
    conversation_id: str | None
    key: str

    def is_same_message(self, text: str, model: str, conversation_id: str | None) -> bool:
        """Whether sending this text now would repeat the message that had no answer."""
        return (self.text, self.model, self.conversation_id) == (text, model, conversation_id)


@dataclass(kw_only=True)
class Turn:
    """What is known of the answer so far.

    ``error`` ends a turn that failed, ``done`` one that was answered, ``stopped`` one that the
    person ended; until one of them is set the turn is under way.
    """

    sending: Sending
    model_title: str
    text: str = ""
    started: Started | None = None
    done: Done | None = None
    error: UiError | None = None
    stopped: bool = False
    is_shown: bool = False
    """Whether an event of the page shows this turn growing."""
    is_finishing: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will arrive."""
        return self.done is not None or self.error is not None or self.stopped

    def apply(self, event: ServerEvent) -> None:
        """Fold one event of the stream. Unknown events are skipped, as the contract may grow."""
        if event.name == "delta":
            self.text += read_as(read_response(event.data), Delta).text
        elif event.name == "started":
            self.started = read_as(read_response(event.data), Started)
        elif event.name == "done":
            self.done = read_as(read_response(event.data), Done)
            self.text = self.done.response
        elif event.name == "error":
            document = read_response(event.data)
            status = document.get("status") if isinstance(document, dict) else None
            self.error = ApiProblem.of(status if isinstance(status, int) else 500, document)
        self.changed.set()


async def follow(api: Api, session: BrowserSession, turn: Turn) -> None:
    """Send the message and fold its events into ``turn``; cancelling this task stops the model.

    No error leaves this function: the page reads it from the turn.
    """
    sending = turn.sending
    body = {"message": sending.text, "model": sending.model, "stream": True}
    if sending.conversation_id:
        body["conversation_id"] = sending.conversation_id
    try:
        async with api.stream(session, MESSAGE_PATH, body, key=sending.key) as events:
            async for event in events:
                session.saw_position(event.id)
                turn.apply(event)
                if turn.is_over:
                    return
        turn.error = ApiUnreachable("The connection ended before the answer was complete.")
    except asyncio.CancelledError:
        turn.stopped = True
        raise
    except UiError as error:
        turn.error = error
    finally:
        turn.changed.set()
