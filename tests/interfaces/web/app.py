"""A small application with everything that a connection can wait for."""

import asyncio
import json

from starlette.types import Receive, Scope, Send

BIG = b"x" * 50_000_000


class SmallApp:
    """/body reads it; /early answers before it; /big does not wait; /stream says a word now and
    then; /hold answers when `released` is set; every other path tells who asks."""

    def __init__(self) -> None:
        self.released = asyncio.Event()
        self.held = 0
        self.ended: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        match path:
            case "/body":
                body, is_whole = await self._read(receive)
                if is_whole:
                    await _answer(send, str(len(body)).encode())
            case "/early":
                await _answer(send, b"early")
            case "/big":
                await _answer(send, BIG)
            case "/stream":
                await self._stream(send)
            case "/hold":
                self.held += 1
                await self.released.wait()
                await _answer(send, b"held")
            case _:
                who = {"client": scope["client"][0], "scheme": scope["scheme"]}
                await _answer(send, json.dumps(who).encode())
        self.ended.append(path)

    async def _read(self, receive: Receive) -> tuple[bytes, bool]:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return body, False
            body += message.get("body", b"")
            if not message.get("more_body"):
                return body, True

    async def _stream(self, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(12):
            await send({"type": "http.response.body", "body": b"word ", "more_body": True})
            await asyncio.sleep(0.1)
        await send({"type": "http.response.body", "body": b"end"})


async def _answer(send: Send, body: bytes) -> None:
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
