"""Somebody at the page without a browser: the requests that the page's script sends, and any that
an attacker makes up."""

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI

from interfaces.ui.app import build_app
from interfaces.ui.client.settings import UiSettings
from tests.interfaces.ui.tiny_api import TinyApi

JOIN, DATA, SESSION = "/gradio_api/queue/join", "/gradio_api/queue/data", "/session"
PAGE = "http://page.test"


@asynccontextmanager
async def running_page(tiny: TinyApi, **changed: Any) -> AsyncIterator[FastAPI]:
    """The page in this event loop, with Gradio's queue at work."""
    settings = UiSettings(api_url="http://api.test", **changed)
    app = build_app(settings, httpx.ASGITransport(app=tiny.app))
    async with client_of(app) as client:
        await client.get("/gradio_api/startup-events")
    yield app
    app.state.closing.set()


def client_of(app: FastAPI, address: str = "198.51.100.7") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, client=(address, 4711))
    return httpx.AsyncClient(transport=transport, base_url=PAGE)


class PageUser:
    """A browser profile with one tab."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.session_hash = secrets.token_hex(6)
        self._config: dict[str, Any] = {}
        self._arrived_with = ""

    async def open(self) -> "PageUser":
        await self.client.get("/")
        self._config = (await self.client.get("/config")).json()
        return self

    @property
    def cookie(self) -> str:
        return dict(self.client.cookies).get("chatledger_browser", "")

    def event(self, place: str, kind: str = "click") -> dict[str, Any]:
        """The body that Gradio's script would send; place: the element's id, empty: the page."""
        ids = {
            one["props"].get("elem_id"): one["id"]
            for one in self._config["components"]
            if one["props"].get("elem_id")
        }
        target = ids.get(place)
        found = next(
            one
            for one in self._config["dependencies"]
            if any(
                on == kind and place_id == (target or place_id) for place_id, on in one["targets"]
            )
        )
        return {
            "session_hash": self.session_hash,
            "fn_index": found["id"],
            "data": [self._arrived_with if kind == "load" else ""] * len(found["inputs"]),
            "event_data": None,
            "trigger_id": target,
        }

    async def send(self, body: dict[str, Any]) -> httpx.Response:
        return await self.client.post(JOIN, json=body)

    async def updates(self) -> str:
        """Everything the page says to this tab until nothing is under way."""
        return (await self.client.get(DATA, params={"session_hash": self.session_hash})).text

    async def does(
        self, place: str, kind: str = "click", data: list[str] | None = None, **pressed: str
    ) -> str:
        body = self.event(place, kind)
        answer = await self.send({**body, "data": data or body["data"], "event_data": pressed})
        assert answer.status_code == 200, answer.text
        return await self.updates()

    async def sign_in(self, name: str) -> "PageUser":
        """As the page's script does it: the browser fetches its new name, the page opens again."""
        said = await self.does("cl-sign-in", data=[name, "right"])
        await self.exchange(said)
        return self

    async def sign_out(self) -> str:
        said = await self.does("cl-sign-out")
        await self.exchange(said)
        return said

    async def exchange(self, said: str) -> None:
        code = self.code_in(said)
        answer = await self.client.post(SESSION, json={"code": code})
        assert answer.status_code == 204
        self._arrived_with = code
        self.session_hash = secrets.token_hex(6)

    def code_in(self, said: str) -> str:
        """The one-time code among the updates; it is the first output of these events."""
        for line in said.splitlines():
            message = json.loads(line.removeprefix("data: ")) if line else {}
            if message.get("msg") == "process_completed":
                return str(message["output"]["data"][0])
        raise AssertionError("the event did not end")
