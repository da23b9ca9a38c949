"""Which sites may call the page, under which names it is known, and what the API is told."""

import time
from pathlib import Path

import httpx
import pytest
from starlette.datastructures import Headers

from infrastructure.settings.service import SettingsError, load_settings
from interfaces.cli.start.serve_page import docs_url, page_hosts, ui_settings
from interfaces.ui.app import build_app
from interfaces.ui.client.settings import UiSettings
from interfaces.ui.front_door.gate import Refused, check_host, check_origin
from interfaces.web.visitor_address import signed_address, visitor_key
from tests.interfaces.ui.page_user import JOIN, SESSION, PageUser, client_of, running_page
from tests.interfaces.ui.tiny_api import TinyApi

ELSEWHERE = (
    {"origin": "http://localhost:3000"},
    {"origin": "http://127.0.0.1"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://page.test.evil.example"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site", "origin": "http://page.test"},
    {"sec-fetch-site": "anything"},
)
HERE: tuple[dict[str, str], ...] = (
    {},
    {"origin": "http://page.test"},
    {"origin": "https://page.test"},
    {"origin": "HTTP://PAGE.TEST", "host": "Page.Test"},
    {"sec-fetch-site": "same-origin", "origin": "https://page.test", "host": "10.0.0.7:7861"},
)


@pytest.mark.parametrize("told", ELSEWHERE)
def test_another_site_may_not_call_the_page(told: dict[str, str]) -> None:
    with pytest.raises(Refused) as refused:
        check_origin(Headers({"host": "page.test", **told}))
    assert refused.value.status == 403


@pytest.mark.parametrize("told", HERE)
def test_the_pages_own_script_may(told: dict[str, str]) -> None:
    check_origin(Headers({"host": "page.test", **told}))


async def test_no_origin_is_given_leave_to_read_anything() -> None:
    async with running_page(TinyApi()) as app, client_of(app) as client:
        user = await PageUser(client).open()
        for told in ({"origin": "http://localhost:3000"}, {"origin": "http://page.test"}, {}):
            for answer in (
                await client.get("/", headers=told),
                await client.get("/config", headers=told),
                await client.get("/gradio_api/app_id", headers=told),
                await client.post(JOIN, json=user.event("", "load"), headers=told),
                await client.post(SESSION, json={}, headers=told),
                await client.options(
                    JOIN, headers={**told, "access-control-request-method": "POST"}
                ),
            ):
                allowed = [name for name in answer.headers if name.startswith("access-control")]
                assert not allowed, (answer.request.url, allowed)
        refused = await client.post(
            JOIN, json=user.event("", "load"), headers={"origin": "http://localhost:3000"}
        )
        assert refused.status_code == 403


def test_a_name_that_somebody_made_lead_here_is_refused() -> None:
    hosts = page_hosts(load_settings(host="127.0.0.1", environment="development"))
    for own in ("localhost:7861", "127.0.0.1:7861", "[::1]:7861", "LOCALHOST", "127.0.0.1"):
        check_host(Headers({"host": own}), hosts)
    for other in ("evil.example", "evil.example:7861", "localhost.evil.example", "", "[::2]"):
        with pytest.raises(Refused) as refused:
            check_host(Headers({"host": other}), hosts)
        assert refused.value.status == 421
    assert page_hosts(load_settings(host="0.0.0.0")) == ()
    named = load_settings(host="0.0.0.0", page_hosts="Chat.example.com, 192.0.2.7")
    assert page_hosts(named) == ("chat.example.com", "192.0.2.7")
    with pytest.raises(SettingsError, match="no name of a host"):
        load_settings(page_hosts="https://chat.example.com")


def test_visitors_are_sent_to_no_documentation_that_this_machine_alone_can_reach() -> None:
    assert docs_url(load_settings()) == "http://127.0.0.1:8000/docs"
    behind_a_proxy = load_settings(environment="production")
    assert docs_url(behind_a_proxy) == ""
    with_its_address = load_settings(environment="production", api_url="https://api.example.com/")
    assert docs_url(with_its_address) == "https://api.example.com/docs"


async def test_the_server_holds_the_names_and_still_says_that_it_lives() -> None:
    app = build_app(UiSettings(api_url="http://api.test", hosts=("page.test",)))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://evil.example") as client:
        answer = await client.get("/")
        assert answer.status_code == 421
        assert "PAGE_HOSTS" in answer.json()["detail"]
        assert (await client.get("/livez")).status_code == 200


async def test_the_api_is_told_the_address_of_the_visitor_in_a_way_that_it_can_check() -> None:
    tiny, key = TinyApi(), visitor_key("a secret of page and API")
    async with running_page(tiny, visitor_key=key) as app:
        for address in ("203.0.113.9", "2001:db8::7"):
            async with client_of(app, address) as client:
                user = await PageUser(client).open()
                await user.does("cl-sign-in", data=["grace", "wrong"])
            told = signed_address(tiny.told_visitors[-1], key, time.time())
            assert told == address


@pytest.mark.parametrize("address", ["caf\xe9", "unix:", "a b c", "x" * 1000, "\x7f"])
async def test_what_a_proxy_passes_on_and_is_no_address_disturbs_nobody(address: str) -> None:
    tiny, key = TinyApi(), visitor_key("a secret of page and API")
    async with running_page(tiny, visitor_key=key) as app, client_of(app, address) as client:
        user = await PageUser(client).open()
        await user.does("cl-sign-in", data=["grace", "wrong"])
    assert signed_address(tiny.told_visitors[-1], key, time.time()) == "unknown"


async def test_without_a_common_secret_the_api_is_told_nothing() -> None:
    tiny = TinyApi()
    async with running_page(tiny) as app, client_of(app) as client:
        user = await PageUser(client).open()
        await user.does("cl-sign-in", data=["grace", "wrong"])
    assert tiny.told_visitors == [""]


def test_page_and_api_share_the_secret_in_the_data_folder(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    first, second = ui_settings(settings), ui_settings(settings)
    assert first.visitor_key == second.visitor_key
    drawn = (settings.data_dir / "secret_key").read_text(encoding="ascii").strip()
    assert first.visitor_key == visitor_key(drawn)
