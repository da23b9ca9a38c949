"""However many come, those who are signed in keep their tabs and their answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI

from interfaces.ui.client.responses import Person
from interfaces.ui.client.sessions import BrowserSession, BrowserSessions, Tokens
from interfaces.ui.client.settings import UiSettings
from interfaces.ui.front_door.open_tabs import OpenTab, OpenTabs, TooManyTabs, UnknownTab
from interfaces.ui.front_door.visitor import Visitor
from tests.interfaces.ui.page_user import SESSION, PageUser, client_of, running_page
from tests.interfaces.ui.test_sessions import ManualClock
from tests.interfaces.ui.tiny_api import TinyApi

ATTACK_TABS = 1_010


async def test_a_thousand_anonymous_tabs_end_nobodys_answer_and_are_refused() -> None:
    tiny = TinyApi(["Once"], hold_open=True)
    async with (
        running_page(tiny, tabs_per_address_max=20) as app,
        client_of(app) as own,
        client_of(app) as crowd,
    ):
        user = await (await PageUser(own).open()).sign_in("grace")
        await user.open()
        await user.does("", "load")
        await user.send({**user.event("cl-prompt", "submit"), "data": ["Hi", "gemma3-270m"]})
        await asyncio.wait_for(tiny.message_came.wait(), 10)
        attacker = PageUser(crowd)
        attacker._config = user._config
        statuses = set()
        for number in range(ATTACK_TABS):
            crowd.cookies.clear()
            await crowd.post(SESSION, json={})
            attacker.session_hash = f"attack-{number}"
            answer = await attacker.send(attacker.event("", "load"))
            statuses.add(answer.status_code)
        assert statuses <= {200, 429, 503}
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert not tiny.stream_closed, "the answer under way goes on"
        assert "Hi" in await user.does("cl-stop") or tiny.is_answering
        async with client_of(app, "203.0.113.50") as other:
            newcomer = await PageUser(other).open()
            assert "2 credits a message" in await newcomer.does("", "load"), "others come in"


async def test_one_browser_and_one_tab_have_their_bounds() -> None:
    async with (
        running_page(TinyApi(), tabs_per_browser_max=3, streams_per_tab_max=2) as app,
        client_of(app) as client,
    ):
        user = await PageUser(client).open()
        for number in range(4):
            user.session_hash = f"tab-{number}"
            answer = await user.send(user.event("", "load"))
        assert answer.status_code == 503
        async with open_streams(app, client, "tab-0", count=2):
            third = await client.get("/gradio_api/heartbeat/tab-0")
            assert third.status_code == 429
            assert "too many connections" in third.json()["detail"]


async def test_events_of_one_visitor_have_a_bound() -> None:
    tiny = TinyApi()
    async with running_page(tiny, events_per_visitor_max=4) as app, client_of(app) as client:
        user = await (await PageUser(client).open()).sign_in("grace")
        await user.open()
        answers = [await user.send(user.event("cl-new-chat")) for _ in range(50)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused
        assert refused[0].headers["retry-after"]
        assert "wait a moment" in refused[0].json()["detail"]


async def test_a_tab_that_reads_nothing_is_told_so() -> None:
    async with running_page(TinyApi(), messages_per_tab_max=10) as app, client_of(app) as client:
        user = await PageUser(client).open()
        for _ in range(200):
            answer = await user.send(user.event("cl-new-chat"))
            if answer.status_code != 200:
                break
            await asyncio.sleep(0)
        assert answer.status_code == 429


@asynccontextmanager
async def open_streams(
    app: FastAPI, client: httpx.AsyncClient, session_hash: str, count: int
) -> AsyncIterator[None]:
    """Heartbeats of a tab; httpx's transport would wait for their end, so the app is called."""
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    began = asyncio.Semaphore(0)

    async def heartbeat() -> None:
        async def receive() -> object:
            return await asyncio.Event().wait()

        async def send(message: dict[str, object]) -> None:
            if message.get("body"):
                began.release()

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": f"/gradio_api/heartbeat/{session_hash}",
            "raw_path": f"/gradio_api/heartbeat/{session_hash}".encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"page.test"), (b"cookie", cookie.encode())],
            "client": ("198.51.100.7", 1),
            "server": ("page.test", 80),
        }
        await app(scope, receive, send)  # type: ignore[arg-type]

    async with AsyncExitStack() as stack:
        for _ in range(count):
            task = asyncio.create_task(heartbeat())
            stack.callback(task.cancel)
            await began.acquire()
        yield


class Room:
    """Open tabs without a server; a visitor is (browser, address)."""

    def __init__(self, **bounds: int) -> None:
        self.clock = ManualClock()
        self.sessions = BrowserSessions(idle_s=1e6, count_max=100, monotonic=self.clock)
        self.dropped: list[str] = []
        settings = UiSettings(**bounds)  # type: ignore[arg-type]
        self.tabs = OpenTabs(settings, self.sessions, self.clock, self.dropped.append)

    def sign_in(self, browser: str, username: str) -> None:
        session = BrowserSession(
            tokens=Tokens(access="a", refresh="r", expires_at_s=1), person=Person(username=username)
        )
        self.sessions.keep(browser, session)

    def open(self, session_hash: str, browser: str, address: str = "192.0.2.1") -> OpenTab:
        return self.tabs.claim(session_hash, Visitor(browser=browser, address=address))


def test_a_tab_belongs_to_the_browser_that_opened_it() -> None:
    room = Room()
    opened = room.open("t", "grace")
    assert room.open("t", "grace") is opened
    with pytest.raises(UnknownTab):
        room.open("t", "eve")
    assert room.tabs.find("t", "grace") is opened.tab
    assert room.tabs.find("t", "eve") is None


def test_anonymous_tabs_take_no_room_of_those_who_are_signed_in() -> None:
    room = Room(anonymous_tabs_max=2, tabs_max=2, tabs_per_address_max=100)
    room.sign_in("grace", "grace")
    room.open("a1", "grace")
    room.open("n1", "nobody")
    room.open("n2", "nobody", "192.0.2.2")
    with pytest.raises(TooManyTabs):
        room.open("n3", "somebody", "192.0.2.3")
    room.open("a2", "grace")
    assert not room.dropped


def test_a_tab_that_was_left_gives_its_place_and_one_in_use_does_not() -> None:
    room = Room(anonymous_tabs_max=2)
    left, in_use = room.open("left", "a"), room.open("in use", "b")
    in_use.streams = 1
    with pytest.raises(TooManyTabs):
        room.open("new", "c")
    room.clock.now_s = 61
    room.open("new", "c")
    assert room.dropped == ["left"]
    assert left.gone.is_set()
    room.clock.now_s = 200
    room.tabs.drop("c")
    room.open("new", "c")
    with pytest.raises(TooManyTabs):
        room.open("newer", "d")
    assert room.tabs.find("in use", "b") is in_use.tab


def test_one_person_and_one_address_have_their_bounds_over_all_their_browsers() -> None:
    room = Room(tabs_per_person_max=2, tabs_per_address_max=2)
    for browser in ("phone", "desk", "laptop"):
        room.sign_in(browser, "grace")
    room.open("1", "phone")
    room.open("2", "desk", "192.0.2.2")
    with pytest.raises(TooManyTabs, match="in your name"):
        room.open("3", "laptop", "192.0.2.3")
    room.open("4", "x")
    room.open("5", "y")
    with pytest.raises(TooManyTabs, match="from your network"):
        room.open("6", "z")


def test_a_network_of_ipv6_counts_as_one_address() -> None:
    networks = {
        Visitor(browser="", address=address).network
        for address in ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:1:2::1%eth0")
    }
    assert networks == {"2001:db8:1:2::/64"}
    assert Visitor(browser="", address="::ffff:192.0.2.1").network == "192.0.2.1"
    assert Visitor(browser="", address="unix").network == "unknown"
