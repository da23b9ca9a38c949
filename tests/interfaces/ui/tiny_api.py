"""A hand-written API of one person, in memory: as much of the contract as the page needs.

Its answers are what a test says, so that a test can show what no model would reliably write. It
watches two promises of the page: a refresh token is used once, and a closed stream is noticed.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

CONVERSATION = "0a8b7c6d-0000-7000-8000-000000000001"
ANSWER = "0a8b7c6d-0000-7000-8000-000000000002"
MODEL = {
    "name": "gemma3-270m",
    "title": "Gemma 3 270M",
    "state": "ready",
    "detail": "",
    "context_tokens": 2048,
    "price": {"kind": "per_message", "credits": 2},
    "licence": "Gemma Terms of Use",
    "licence_url": "https://ai.google.dev/gemma/terms",
    "runs_on": "CPU",
    "default": True,
}
TIME = "2026-11-22T21:04:00Z"


class TinyApi:
    """``pieces`` are the deltas of every answer; ``hold_open`` leaves the answer unfinished."""

    def __init__(self, pieces: list[str] | None = None, *, hold_open: bool = False) -> None:
        self.pieces = pieces if pieces is not None else ["Hello", " there."]
        self.hold_open = hold_open
        self.generation = 0
        self.access_ok = True
        self.is_revoked = False
        self.refreshes = 0
        self.refresh_came = asyncio.Event()
        self.refresh_takes = asyncio.Event()
        self.refresh_takes.set()
        self.message_came = asyncio.Event()
        self.keys: list[str] = []
        self.username = "grace"
        self.titles: list[str] = []
        self.told_visitors: list[str] = []
        self.turns_dropped = 0
        self.positions: list[str] = []
        self.stream_closed = False
        self.is_answering = False
        self.items: list[dict[str, Any]] = []
        self.app = Starlette(
            routes=[
                Route("/auth/register", self._register, methods=["POST"]),
                Route("/auth/login", self._login, methods=["POST"]),
                Route("/auth/refresh", self._refresh, methods=["POST"]),
                Route("/auth/logout", self._logout, methods=["POST"]),
                Route("/auth/me", self._me),
                Route("/chat/models", self._models),
                Route("/chat/message", self._message, methods=["POST"]),
                Route("/chat/conversations", self._conversations),
                Route("/chat/history", self._history),
                Route("/billing/balance", self._balance),
            ]
        )

    def _pair(self) -> JSONResponse:
        return JSONResponse(
            {
                "access_token": f"access-{self.generation}",
                "refresh_token": f"refresh-{self.generation}",
                "token_type": "bearer",
                "expires_in": 900,
            }
        )

    def _refused(self, request: Request) -> Response | None:
        good = f"Bearer access-{self.generation}"
        self.positions.append(request.headers.get("ledger-position", ""))
        if self.access_ok and not self.is_revoked and request.headers.get("authorization") == good:
            return None
        return problem(401, "unauthenticated", "the access token has expired; sign in again")

    async def _register(self, request: Request) -> Response:
        return JSONResponse({"username": (await request.json())["username"]}, 201)

    async def _login(self, request: Request) -> Response:
        body = await request.json()
        self.told_visitors.append(request.headers.get("chatledger-visitor", ""))
        if body["password"] == "wrong":
            return problem(401, "wrong_password", "the username or the password is wrong")
        self.username = body["username"]
        return self._pair()

    async def _refresh(self, request: Request) -> Response:
        self.refreshes += 1
        self.refresh_came.set()
        await self.refresh_takes.wait()
        token = (await request.json())["refresh_token"]
        if self.is_revoked or token != f"refresh-{self.generation}":
            self.is_revoked = True
            return problem(401, "session_revoked", "this refresh token was used before")
        self.generation += 1
        self.access_ok = True
        return self._pair()

    async def _logout(self, request: Request) -> Response:
        return Response(status_code=204)

    async def _me(self, request: Request) -> Response:
        return self._refused(request) or JSONResponse({"username": self.username, "role": "user"})

    async def _models(self, request: Request) -> Response:
        return JSONResponse({"items": [MODEL]})

    async def _balance(self, request: Request) -> Response:
        held = 2 if self.is_answering else 0
        return self._refused(request) or Response(
            f'{{"available": {98 - held}.000001, "held": {held}}}',
            media_type="application/json",
            headers={"Ledger-Position": "1"},
        )

    async def _conversations(self, request: Request) -> Response:
        items = [
            {"conversation_id": CONVERSATION, "title": title, "updated_at": TIME}
            for title in self.titles
        ]
        return self._refused(request) or JSONResponse({"items": items, "next_cursor": None})

    async def _history(self, request: Request) -> Response:
        return self._refused(request) or JSONResponse(
            {"items": self.items[::-1], "next_cursor": None}
        )

    async def _message(self, request: Request) -> Response:
        refused = self._refused(request)
        if refused is not None:
            return refused
        self.keys.append(request.headers["idempotency-key"])
        self.message_came.set()
        text = (await request.json())["message"]
        if text == "poor":
            return problem(402, "insufficient_credits", "this message costs 2 credits")
        return StreamingResponse(
            self._events(text), media_type="text/event-stream", headers={"Ledger-Position": "41"}
        )

    async def _events(self, text: str) -> AsyncIterator[str]:
        self.items.append(item("user", text, "pending"))
        said = ""
        try:
            self.is_answering = True
            started = {"message_id": ANSWER, "conversation_id": CONVERSATION, "held": 2}
            yield event("started", started, 41)
            for piece in self.pieces:
                said += piece
                yield event("delta", {"text": piece})
            if self.hold_open:
                await asyncio.Event().wait()
            yield event("done", {**done(said), "turns_dropped": self.turns_dropped}, 43)
        except asyncio.CancelledError:
            self.stream_closed = True
            raise
        finally:
            self.is_answering = False
            self.items[-1]["status"] = "answered"
            answer = item("assistant", said, "answered")
            answer["finish_reason"] = "cancelled" if self.stream_closed else "stop"
            self.items.append(answer)


def item(role: str, content: str, status: str) -> dict[str, Any]:
    return {
        "message_id": ANSWER if role == "assistant" else CONVERSATION,
        "conversation_id": CONVERSATION,
        "role": role,
        "content": content,
        "model": "gemma3-270m",
        "cost": 2 if role == "assistant" else None,
        "completion_tokens": 2,
        "status": status,
        "created_at": TIME,
    }


def done(said: str) -> dict[str, Any]:
    return {
        "message_id": ANSWER,
        "conversation_id": CONVERSATION,
        "model": "gemma3-270m",
        "response": said,
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 5, "completion_tokens": 2},
        "cost": 2,
        "balance": {"available": 96, "held": 0},
        "cached": False,
        "latency_ms": 1234,
    }


def event(name: str, data: dict[str, Any], position: int | None = None) -> str:
    identifier = "" if position is None else f"id: {position}\n"
    return f"event: {name}\n{identifier}data: {json.dumps(data)}\n\n"


def problem(status: int, code: str, detail: str) -> Response:
    document = {
        "type": "about:blank",
        "title": "Refused",
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": "r-1",
    }
    return JSONResponse(document, status, media_type="application/problem+json")
