"""Several users at once, who remember what they were told."""

import asyncio
import json
import random
import time
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx

from tests.faults.told import Bought, Sent, User, cursor_of, key_header, server_events
from tests.support.service import RunningService

PASSWORD = "correct horse 7"
# Longer than any request may take: one that is still open then hangs.
REQUEST_TIMEOUT_S = 60.0
_PAUSE_S = 0.1
_RETRIES_AT_ONCE = 6
_PROMPTS = (
    "Say something about the sea.",
    "What is a ledger?",
    "Count from one to ten.",
    "Name three colours and a bird.",
)


class Load:
    """Keeps `workers_per_user` messages of each user under way while `running`."""

    def __init__(self, service: RunningService, seed: int) -> None:
        self._service = service
        self._random = random.Random(seed)
        self._tag = f"{seed:x}"
        self._keys = 0
        self._stopping = asyncio.Event()
        self._answer_came = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []
        self.users: list[User] = []
        self.sent: list[Sent] = []
        self.bought: list[Bought] = []
        self.under_way = 0
        self.reads: dict[int, int] = {}

    @property
    def api_url(self) -> str:
        return self._service.api_url

    @property
    def answered(self) -> list[Sent]:
        return [sent for sent in self.sent if sent.answer is not None]

    async def register(self, count: int) -> None:
        async with self._client() as client:
            for _ in range(count):
                name = f"user_{self._tag}_{len(self.users)}"
                made = await client.post(
                    "/auth/register",
                    json={"username": name, "email": f"{name}@example.com", "password": PASSWORD},
                )
                assert made.status_code == 201, made.text
                login = await client.post(
                    "/auth/login", json={"username": name, "password": PASSWORD}
                )
                assert login.status_code == 200, login.text
                token = login.json()["access_token"]
                headers = {"Authorization": f"Bearer {token}"}
                self.users.append(User(UUID(made.json()["user_id"]), headers))

    def start(self, workers_per_user: int = 1) -> None:
        self._stopping.clear()
        talkers = [self._talk(user) for user in self.users for _ in range(workers_per_user)]
        self._workers = [asyncio.create_task(work) for work in (*talkers, self._shop())]

    async def stop(self) -> None:
        """Returns when every request under way has ended, with success or without."""
        self._stopping.set()
        await asyncio.gather(*self._workers)

    async def some_answers(self, count: int, timeout_s: float = 60) -> None:
        """Returns when `count` more answers have come."""
        wanted = len(self.answered) + count
        async with asyncio.timeout(timeout_s):
            while len(self.answered) < wanted:
                self._answer_came.clear()
                await self._answer_came.wait()

    def random_seed(self) -> int:
        return self._random.randrange(2**32)

    async def random_moment(self, seconds_max: float = 1.5) -> float:
        moment_s = self._random.uniform(0, seconds_max)
        await asyncio.sleep(moment_s)
        return moment_s

    async def send(self, user: User, *, again: Sent | None = None, **body: Any) -> Sent:
        """again: a message to repeat under the same key."""
        async with self._client() as client:
            sent = self._message(user, again, body)
            await self._deliver(client, sent)
            return sent

    async def retry_all(self, timeout_s: float = 60) -> None:
        """Repeats each unanswered message under its key, as clients do after a fault, until it is
        answered."""
        unanswered = [sent for sent in self.sent if sent.key and sent.answer is None]
        known = {sent.key for sent in self.answered}
        pending = {sent.key: sent for sent in unanswered if sent.key not in known}
        # Not all at once: a message that waits too long for the model fails and is sent again.
        turn = asyncio.Semaphore(_RETRIES_AT_ONCE)
        async with asyncio.timeout(timeout_s + len(pending)), self._client() as client:
            await asyncio.gather(
                *(self._until_answered(client, sent, turn) for sent in pending.values())
            )
            for bought in self.bought:
                if not bought.acknowledged:
                    assert await self._buy(client, bought), "a purchase is repeated with success"

    async def _until_answered(
        self, client: httpx.AsyncClient, first: Sent, turn: asyncio.Semaphore
    ) -> None:
        while True:
            async with turn:
                sent = self._message(first.user, first, {})
                await self._deliver(client, sent)
            if sent.answer is not None:
                return
            await asyncio.sleep(_PAUSE_S)

    async def buy(self, user: User) -> bool:
        """Returns whether the purchase was acknowledged."""
        bought = Bought(user, self._new_key(), self._random.randint(1, 9))
        self.bought.append(bought)
        async with self._client() as client:
            bought.acknowledged = await self._buy(client, bought)
        return bought.acknowledged

    async def get(self, user: User, path: str) -> httpx.Response:
        async with self._client() as client:
            return await client.get(path, headers=user.headers)

    async def items(self, user: User, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor = ""
        async with self._client() as client:
            while True:
                page = await client.get(
                    path, params={"limit": 200, **cursor_of(cursor)}, headers=user.headers
                )
                assert page.status_code == 200, page.text
                document = json.loads(page.text, parse_float=Decimal)
                found += document["items"]
                cursor = document["next_cursor"]
                if not cursor:
                    return found

    async def _talk(self, user: User) -> None:
        async with self._client() as client:
            while not self._stopping.is_set():
                sent = self._message(user, None, {})
                await self._deliver(client, sent)
                if sent.answer is None:
                    await asyncio.sleep(_PAUSE_S)

    async def _shop(self) -> None:
        """Many quick commands and queries, which do not wait for a model."""
        async with self._client() as client:
            while not self._stopping.is_set():
                user = self._random.choice(self.users)
                if self._random.random() < 0.5:
                    await self._read(client, user)
                else:
                    await self.buy(user)
                await asyncio.sleep(_PAUSE_S / 2)

    def _message(self, user: User, again: Sent | None, body: dict[str, Any]) -> Sent:
        if again is not None:
            stream = self._random.random() < 0.5
            sent = Sent(user, {**again.body, "stream": stream}, again.key)
        else:
            sent = Sent(user, self._new_body(user) | body, self._maybe_key())
        self.sent.append(sent)
        return sent

    def _new_body(self, user: User) -> dict[str, Any]:
        body: dict[str, Any] = {
            "message": self._random.choice(_PROMPTS),
            "max_tokens": self._random.randint(3, 20),
            "temperature": self._random.choice([0, 0.7]),
            "stream": self._random.random() < 0.5,
        }
        if user.conversations and self._random.random() < 0.3:
            body["conversation_id"] = self._random.choice(user.conversations[-5:])
        return body

    def _maybe_key(self) -> str | None:
        return self._new_key() if self._random.random() < 0.5 else None

    def _new_key(self) -> str:
        self._keys += 1
        return f"key {self._tag} {self._keys}"

    async def _deliver(self, client: httpx.AsyncClient, sent: Sent) -> None:
        headers = {**sent.user.headers, **key_header(sent.key)}
        began = time.monotonic()
        self.under_way += 1
        try:
            async with client.stream(
                "POST", "/chat/message", json=sent.body, headers=headers
            ) as response:
                sent.replayed = response.headers.get("Idempotency-Replayed") == "true"
                if response.status_code == 200 and sent.body["stream"]:
                    await _read_stream(response, sent)
                else:
                    _read_document(response.status_code, await response.aread(), sent)
        except httpx.ConnectError:
            self.sent.remove(sent)  # The service was not running, so it never got the message.
        except httpx.TimeoutException:
            raise AssertionError(f"it hangs: {sent}") from None
        except httpx.TransportError:
            pass  # As when the service is killed: the client does not know how the request ended.
        finally:
            self.under_way -= 1
            sent.seconds = time.monotonic() - began
        if sent.answer is not None:
            sent.user.conversations.append(sent.answer["conversation_id"])
            self._answer_came.set()

    async def _read(self, client: httpx.AsyncClient, user: User) -> None:
        path = self._random.choice(["/billing/balance", "/chat/history", "/billing/transactions"])
        try:
            response = await client.get(path, headers=user.headers)
        except httpx.TimeoutException:
            raise AssertionError(f"it hangs: {path}") from None
        except httpx.TransportError:
            return
        status = response.status_code
        assert status in (200, 503), response.text
        self.reads[status] = self.reads.get(status, 0) + 1

    async def _buy(self, client: httpx.AsyncClient, bought: Bought) -> bool:
        headers = {**bought.user.headers, **key_header(bought.key)}
        began = time.monotonic()
        try:
            response = await client.post(
                "/billing/add", json={"amount": bought.amount}, headers=headers
            )
        except httpx.TimeoutException:
            raise AssertionError("it hangs: /billing/add") from None
        except httpx.TransportError:
            return False
        finally:
            bought.seconds = time.monotonic() - began
        assert response.status_code in (201, 503), response.text
        return response.status_code == 201

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._service.api_url, timeout=REQUEST_TIMEOUT_S, trust_env=False
        )


async def _read_stream(response: httpx.Response, sent: Sent) -> None:
    async for name, document in server_events(response):
        match name:
            case "started":
                sent.message_id = UUID(document["message_id"])
            case "done":
                _take_answer(document, sent)
            case "error":
                _take_problem(document, sent)


def _read_document(status: int, body: bytes, sent: Sent) -> None:
    document = json.loads(body, parse_float=Decimal)
    if status == 200:
        _take_answer(document, sent)
    else:
        assert document["status"] == status
        _take_problem(document, sent)


def _take_answer(document: dict[str, Any], sent: Sent) -> None:
    sent.answer = document
    sent.message_id = UUID(document["message_id"])


def _take_problem(document: dict[str, Any], sent: Sent) -> None:
    """After a fault the only refusals are: not available for a moment, or too slow."""
    assert document["status"] in (503, 504, 409), document
    assert document["detail"]
    assert document["request_id"]
    sent.problem = document
