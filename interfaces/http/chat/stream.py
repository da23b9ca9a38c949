"""How an answer reaches the client, whole or piece by piece, and how a client that leaves is
noticed."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import Request
from pydantic import BaseModel

from application.chat.answer import Answer
from application.chat.run import ChatRun
from interfaces.exact_json import write_json
from interfaces.http.chat.convert import message_response, started_wire
from interfaces.http.chat.protocol import DeltaWire
from interfaces.http.problems import describe
from interfaces.http.request_log import CLIENT_GONE
from interfaces.http.responses import to_json


async def whole_answer(run: ChatRun, request: Request) -> Answer:
    """Waits for the answer; a client that goes away stops the generation.

    Raises what `ChatRun.answer` raises.
    """
    gone = asyncio.create_task(_disconnected(request))
    answered = asyncio.create_task(run.answer())
    try:
        await asyncio.wait([gone, answered], return_when=asyncio.FIRST_COMPLETED)
        if not answered.done():
            request.scope[CLIENT_GONE] = True
            run.cancel()
        return await answered
    finally:
        gone.cancel()
        if not answered.done():
            run.cancel()


async def events(run: ChatRun, request_id: str) -> AsyncIterator[bytes]:
    """Server-sent events: started, delta*, then done or error. The id of `started` and `done` is
    the ledger position of their commit."""
    try:
        yield event("started", started_wire(run.started), position=run.position)
        async for piece in run.deltas():
            yield event("delta", DeltaWire(text=piece))
        answer = await run.answer()
        yield event("done", message_response(answer), position=answer.position)
    except Exception as error:  # noqa: BLE001 - the status line is long sent
        _, document, _ = describe(error, request_id)
        yield _frame("error", write_json(document), None)
    finally:
        # A client that went away cancels this generator; after the end it has no effect.
        run.cancel()


async def recorded_events(answer: Answer) -> AsyncIterator[bytes]:
    """The stream of a command that was answered before."""
    if answer.response:
        yield event("delta", DeltaWire(text=answer.response))
    yield event("done", message_response(answer))


def event(name: str, model: BaseModel, *, position: int | None = None) -> bytes:
    return _frame(name, to_json(model), position)


def _frame(name: str, data: bytes, position: int | None) -> bytes:
    identifier = b"" if position is None else b"id: %d\n" % position
    return b"event: %s\n%sdata: %s\n\n" % (name.encode(), identifier, data)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
