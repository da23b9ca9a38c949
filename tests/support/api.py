"""The REST API in this process, on real PostgreSQL and NATS, with an engine that tests script."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from application.ledger.keys import LedgerKeys
from infrastructure.database.migrate import migrate
from infrastructure.embedded.servers import EmbeddedServers
from infrastructure.process.clock_ids import TimeOrderedIds
from infrastructure.secrets.ledger_key_file import load_ledger_keys
from infrastructure.settings.service import Settings, load_settings
from interfaces.composition.endpoints import Endpoints
from interfaces.composition.services import open_services
from interfaces.http.app import create_app
from interfaces.http.services import HttpServices
from interfaces.web.connections import ConnectionLimits
from interfaces.web.server import WebServerConfig
from tests.support.books import check_books, stored_events
from tests.support.scripted_engine import ScriptedEngine
from tests.support.servers import DatabaseUrls, drop_database, fresh_database, fresh_name

PASSWORD = "correct horse battery"
JWT_SECRET = "a secret of the tests, long enough for every algorithm of them all."

_numbers = count(1)


@dataclass(kw_only=True)
class Person:
    """Somebody who is signed in."""

    api: "Api"
    user_id: str
    username: str
    email: str
    tokens: dict[str, Any]
    position: str = "0"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens['access_token']}"}

    async def ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Sends the last `Ledger-Position`, so that a query sees what this person has written."""
        headers = self.headers | request.pop("headers", {})
        if method in ("GET", "HEAD"):
            headers = {"Ledger-Position": self.position} | headers
        response = await self.api.client.request(method, path, headers=headers, **request)
        self.position = response.headers.get("Ledger-Position", self.position)
        return response

    async def get(self, path: str, **request: Any) -> httpx.Response:
        return await self.ask("GET", path, **request)

    async def post(self, path: str, body: Any = None, **request: Any) -> httpx.Response:
        return await self.ask("POST", path, json=body, **request)

    async def say(self, text: str = "Hello there", **body: Any) -> dict[str, Any]:
        """Sends a message. Returns the answer, which was paid for."""
        response = await self.post("/chat/message", {"message": text, **body})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def balance(self) -> tuple[float, float]:
        """Credits available and held."""
        response = await self.get("/billing/balance")
        assert response.status_code == 200, response.text
        found = response.json()
        return found["available"], found["held"]

    async def available(self) -> float:
        """From the log: after a failure no position is told, so read models may be behind."""
        response = await self.post("/chat/quote", {"message": "How much?"})
        assert response.status_code == 200, response.text
        found: float = response.json()["available"]
        return found


@dataclass(kw_only=True)
class Api:
    """client: calls the application directly. base_url of `serving`: of a socket."""

    app: FastAPI
    client: httpx.AsyncClient
    engine: ScriptedEngine
    settings: Settings
    urls: DatabaseUrls
    people: list[Person] = field(default_factory=list)

    @property
    def ledger_keys(self) -> LedgerKeys:
        """Those of the running service."""
        return load_ledger_keys(self.settings.ledger_key_file)

    @property
    def services(self) -> HttpServices:
        found: HttpServices = self.app.state.services
        return found

    async def person(self) -> Person:
        """A new user with the welcome credits, signed in."""
        name = f"person{next(_numbers)}"
        email = f"{name}@example.com"
        registered = await self.client.post(
            "/auth/register", json={"username": name, "email": email, "password": PASSWORD}
        )
        assert registered.status_code == 201, registered.text
        person = Person(
            api=self,
            user_id=registered.json()["user_id"],
            username=name,
            email=email,
            tokens=await self.sign_in(name),
            position=registered.headers["Ledger-Position"],
        )
        self.people.append(person)
        return person

    async def sign_in(self, username: str, password: str = PASSWORD) -> dict[str, Any]:
        response = await self.client.post(
            "/auth/login", json={"username": username, "password": password}
        )
        assert response.status_code == 200, response.text
        tokens: dict[str, Any] = response.json()
        return tokens

    async def settled(self) -> None:
        """Returns when no answer is under way."""
        async with asyncio.timeout(20):
            while self.services.chat.runs_open:  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.01)

    def check_books(self) -> None:
        check_books(stored_events(self.urls.service))


@asynccontextmanager
async def running_api(
    servers: EmbeddedServers,
    folder: Path,
    *,
    through: Callable[[str], str] = str,
    **changes: Any,
) -> AsyncIterator[Api]:
    """through: turns the database's URL into the one that the API uses. changes: to the settings.
    The books are checked at the end."""
    name = fresh_name("api")
    urls = fresh_database(servers, name)
    migrate(urls.owner, urls.service)
    service_url = through(urls.service)
    settings = load_settings(
        _env_file=None,
        **{
            "environment": "test",
            "data_dir": folder,
            "database_url": service_url,
            "nats_url": servers.nats_url,
            "nats_read_url": servers.nats_read_url,
            "nats_stream": name,
            "jwt_secret_key": JWT_SECRET,
            "secret_key": JWT_SECRET,
            "bcrypt_rounds": 4,
            "checkpoint_interval_s": 0.1,
            "rate_limit_per_minute": 1_000_000,
            "sign_in_failures_max": 1_000_000,
            "sign_in_address_failures_max": 1_000_000,
            "sign_in_account_failures_max": 1_000_000,
            "address_requests_per_minute": 1_000_000,
            "registrations_per_minute": 1_000_000,
            "password_hashes_per_minute": 1_000_000,
            "password_queue_max": 1_000,
            "password_queue_address_max": 1_000,
            "password_wait_s_max": 60,
            **changes,
        },
    )
    endpoints = Endpoints(
        owner_url=urls.owner,
        service_url=service_url,
        nats_url=servers.nats_url,
        nats_read_url=servers.nats_read_url,
    )
    engine = ScriptedEngine()
    app = create_app(
        lambda: open_services(settings, endpoints, engine),
        request_body_bytes_max=settings.request_body_bytes_max,
        new_id=TimeOrderedIds().new_id,
    )
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api") as client,
    ):
        api = Api(app=app, client=client, engine=engine, settings=settings, urls=urls)
        yield api
        await api.settled()
        api.check_books()
    drop_database(servers, name)


@asynccontextmanager
async def serving(api: Api, limits: ConnectionLimits | None = None) -> AsyncIterator[str]:
    """Serves the same application on a socket, so that a client can leave. Returns the base URL."""
    config = WebServerConfig(
        api.app,
        host="127.0.0.1",
        port=0,
        limits=limits or ConnectionLimits(),
        shutdown_timeout_s=20,
    )
    config.lifespan = "off"  # the caller has it open
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(20):
        while not server.started:  # noqa: ASYNC110 - uvicorn announces it nowhere else
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task
