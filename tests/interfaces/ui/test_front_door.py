"""What the page's server hands out, and what it keeps shut."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.types import Message

from interfaces.ui.app import build_app
from interfaces.ui.client.sessions import SECURE_COOKIE_NAME
from interfaces.ui.client.settings import UiSettings
from tests.interfaces.ui.tiny_api import TinyApi


@pytest.fixture
async def visitor() -> AsyncIterator[httpx.AsyncClient]:
    settings = UiSettings(api_url="http://api.test", secure_cookie=True)
    app = build_app(settings, httpx.ASGITransport(app=TinyApi().app))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="https://page.test") as client:
        yield client


async def test_a_browser_is_given_a_name_once(visitor: httpx.AsyncClient) -> None:
    first = await visitor.get("/")
    cookie = first.headers["set-cookie"]
    assert cookie.startswith(f"{SECURE_COOKIE_NAME}=")
    for word in ("HttpOnly", "SameSite=Strict", "Path=/", "Secure"):
        assert word in cookie
    assert "set-cookie" not in (await visitor.get("/")).headers


async def test_a_forged_name_is_replaced(visitor: httpx.AsyncClient) -> None:
    answer = await visitor.get("/", headers={"cookie": f"{SECURE_COOKIE_NAME}=chosen.by-someone"})
    assert "set-cookie" in answer.headers


async def test_the_browser_is_told_to_load_nothing_from_elsewhere(
    visitor: httpx.AsyncClient,
) -> None:
    policy = (await visitor.get("/")).headers["content-security-policy"]
    assert "connect-src 'self'" in policy
    assert "http" not in policy
    assert "*" not in policy


async def test_the_page_carries_the_licence_note_and_no_tracking(
    visitor: httpx.AsyncClient,
) -> None:
    page = (await visitor.get("/")).text
    assert "Gemma is provided under and subject to the" in page
    assert '"analytics_enabled":false' in page.replace(" ", "")
    assert "fonts.googleapis" not in page


KEPT_SHUT = (
    "/gradio_api/upload",
    "/gradio_api/info",
    "/gradio_api/file=/etc/passwd",
    "/gradio_api/proxy=http://127.0.0.1:1/",
    "/gradio_api/call/send",
    "/gradio_api/run/send",
    "/gradio_api/runs",
    "/gradio_api/vibe-code",
    "/monitoring",
    "/docs",
    "/assets/../../etc/passwd",
)


async def test_what_the_page_does_not_use_is_not_served(
    visitor: httpx.AsyncClient,
) -> None:
    for path in KEPT_SHUT:
        assert (await visitor.get(path)).status_code == 404, path
        assert (await visitor.post(path, content=b"{}")).status_code in {404, 405}, path


async def test_a_body_that_is_large_or_of_unknown_length_is_refused(
    visitor: httpx.AsyncClient,
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * 10

    await visitor.get("/")
    join = "/gradio_api/queue/join"
    assert (await visitor.post(join, content=b"x" * 1_000_001)).status_code == 413
    assert (await visitor.post(join, content=endless())).status_code == 413


async def test_the_process_says_that_it_lives(visitor: httpx.AsyncClient) -> None:
    answer = await visitor.get("/livez")
    assert (answer.status_code, answer.text) == (200, "ok")
    for path in ("/livez", "/", "/session", "/favicon.ico"):
        assert (await visitor.get(path)).status_code in {200, 204}
        assert (await visitor.head(path)).status_code in {200, 204}, path


async def test_the_streams_of_open_tabs_end_when_the_server_closes() -> None:
    app = build_app(UiSettings(api_url="http://api.test"))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://page.test") as client:
        cookie = (await client.get("/")).headers["set-cookie"].partition(";")[0]
    sent: list[Message] = []
    began = asyncio.Event()

    async def receive() -> Message:
        return await asyncio.Event().wait()  # type: ignore[return-value]  # never returns

    async def send(message: Message) -> None:
        sent.append(message)
        if message.get("body"):
            began.set()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/gradio_api/heartbeat/abc",
        "raw_path": b"/gradio_api/heartbeat/abc",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"page.test"), (b"cookie", cookie.encode())],
        "client": ("127.0.0.1", 1),
        "server": ("page.test", 80),
    }
    tab = asyncio.create_task(app(scope, receive, send))
    await began.wait()
    app.state.closing.set()
    await asyncio.wait_for(tab, 10)
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
