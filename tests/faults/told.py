"""What people sent, and what they were told."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx


@dataclass
class Sent:
    """One message and what came back: an answer, a problem document, or neither if the connection
    broke. message_id: the answer's, if the client was told it."""

    user: "User"
    body: dict[str, Any]
    key: str | None
    message_id: UUID | None = None
    answer: dict[str, Any] | None = None
    problem: dict[str, Any] | None = None
    replayed: bool = False
    seconds: float = 0.0

    @property
    def cut(self) -> bool:
        return self.answer is None and self.problem is None


@dataclass
class Bought:
    user: "User"
    key: str
    amount: int
    acknowledged: bool = False
    seconds: float = 0.0


@dataclass
class User:
    user_id: UUID
    headers: dict[str, str]
    conversations: list[str] = field(default_factory=list)


async def server_events(response: httpx.Response) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Name and document of each event. The service writes one `data` line for each."""
    name = ""
    async for line in response.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "), parse_float=Decimal)


def key_header(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Idempotency-Key": key}


def cursor_of(cursor: str) -> dict[str, str]:
    return {"cursor": cursor} if cursor else {}
