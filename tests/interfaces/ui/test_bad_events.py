"""What Gradio would stumble over never reaches it: a refusal in plain words, nothing in the log."""

import json
import logging
from collections.abc import AsyncIterator

import httpx
import pytest

from interfaces.ui.front_door.gate import Refused, read_join, write_join
from tests.interfaces.ui.page_user import DATA, JOIN, SESSION, PageUser, client_of, running_page
from tests.interfaces.ui.tiny_api import TinyApi

INPUTS = {3: (20, 20), 4: ()}
GOOD = {"session_hash": "abc", "fn_index": 3, "data": ["one", None]}


@pytest.fixture
async def user() -> AsyncIterator[PageUser]:
    async with running_page(TinyApi()) as app, client_of(app) as client:
        yield await PageUser(client).open()


def changed(**fields: object) -> bytes:
    return json.dumps({**GOOD, **fields}).encode()


BAD_BODIES = {
    b"": 400,
    b"not json": 400,
    b"\xff\xfe": 400,
    b'{"event_data": ' + b"[" * 100_000: 400,
    b"[" * 100_000: 422,
    b'{"session_hash": "abc", "fn_index": 3, "data": ["\\ud800", ""]}': 400,
    b"null": 422,
    b"[]": 422,
    b"{}": 422,
    changed(fn_index=10**6): 422,
    changed(fn_index=-1): 422,
    changed(fn_index=10**40): 422,
    changed(fn_index="3"): 422,
    changed(fn_index=3.5): 422,
    changed(fn_index=True): 422,
    changed(fn_index=None): 422,
    changed(data=[]): 422,
    changed(data=["x"] * 3): 422,
    changed(data=[1, 2]): 422,
    changed(data=[{"path": "/etc/passwd"}, ""]): 422,
    changed(data=["x" * 21, ""]): 422,
    changed(data="ab"): 422,
    changed(data=None): 422,
    changed(session_hash=""): 422,
    changed(session_hash="../x"): 422,
    changed(session_hash="é"): 422,
    changed(session_hash="x" * 65): 422,
    changed(session_hash=None): 422,
    changed(session_hash=7): 422,
}


@pytest.mark.parametrize(("body", "status"), BAD_BODIES.items(), ids=range(len(BAD_BODIES)))
def test_an_event_that_is_not_one_is_refused(body: bytes, status: int) -> None:
    with pytest.raises(Refused) as refused:
        read_join(body, INPUTS)
    assert refused.value.status == status
    assert refused.value.detail.endswith(".")


def test_of_an_event_only_what_handlers_read_reaches_gradio() -> None:
    join = read_join(
        changed(
            event_data={"action": "open", "value": "v" * 1_000, "target": {"path": "/"}},
            event_id="another's",
            trigger_id=1,
            batched=True,
            oauth_token="token",
        ),
        INPUTS,
    )
    assert json.loads(write_join(join)) == {
        "session_hash": "abc",
        "fn_index": 3,
        "data": ["one", ""],
        "event_data": {"action": "open", "value": "v" * 500},
    }


async def test_bad_requests_are_refused_without_a_word_in_the_log(
    user: PageUser, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    client, tab = user.client, user.session_hash
    good = user.event("", "load")
    of_two_values = str(user.event("cl-sign-in")["fn_index"]).encode()
    for body in BAD_BODIES:
        here = body.replace(b"x" * 21, b"x" * 100_000).replace(
            b'"fn_index": 3,', b'"fn_index": ' + of_two_values + b","
        )
        assert 400 <= (await client.post(JOIN, content=here)).status_code < 500, here[:200]
    answers: list[httpx.Response] = [
        await client.post(JOIN, json={**good, "fn_index": 99_999}),
        await client.post(JOIN, json={**good, "data": ["too", "many"]}),
        await client.get(JOIN),
        await client.put(JOIN, json=good),
        await client.get(DATA),
        await client.get(DATA, params={"session_hash": "never-seen"}),
        await client.get(DATA, params={"session_hash": "\x00"}),
        await client.get("/gradio_api/heartbeat/"),
        await client.get("/gradio_api/heartbeat/a.b"),
        await client.post(f"/gradio_api/heartbeat/{tab}"),
        await client.post("/gradio_api/cancel", json={"session_hash": tab}),
        await client.post("/gradio_api/reset", json={"event_id": "x"}),
        await client.post(SESSION, content=b"["),
        await client.post(SESSION, json={"code": 7}),
        await client.delete(SESSION),
        await client.post("/config"),
        await client.request("TRACE", "/"),
    ]
    for answer in answers:
        assert 400 <= answer.status_code < 500, answer.request.url
        assert answer.json()["detail"]
    assert {record.name for record in caplog.records} == {"httpx"}, "the client's own"
    assert capfd.readouterr() == ("", "")


ODD_HOSTS = (
    b"[",
    b"[::1",
    b"[:::]",
    b"a b",
    b"\xff",
    b"x:99999",
    b"256.1.1.1",
    b"http://x",
    b"x/y",
)


async def test_an_odd_request_is_no_error_of_the_server(user: PageUser) -> None:
    client = user.client
    for path in ("/", "/config"):
        for host in ODD_HOSTS:
            assert (await client.get(path, headers=[(b"host", host)])).status_code == 400, host
            for header in (b"x-forwarded-host", b"x-gradio-server", b"cookie"):
                answer = await client.get(path, headers=[(header, host)])
                assert answer.status_code == 200, (header, host)
        for query in ("page=%00", "deep_link=../../etc/passwd", "%ff=%fe", "deep_link=%00"):
            assert (await client.get(f"{path}?{query}")).status_code == 200, query
    for name in ("%00", "a" * 5_000, "%ff", "..%2f..%2fetc%2fpasswd"):
        for folder in ("assets", "static"):
            assert (await client.get(f"/{folder}/{name}")).status_code in {403, 404}, name


async def test_the_first_host_that_a_proxy_names_is_the_pages_own(user: PageUser) -> None:
    headers = {"x-forwarded-host": "chat.example.com, inner", "x-forwarded-proto": "https"}
    config = (await user.client.get("/config", headers=headers)).json()
    assert config["root"] == "https://chat.example.com"


async def test_a_choice_that_is_not_offered_is_no_error_of_the_server(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with running_page(TinyApi()) as app, client_of(app) as client:
        user = await (await PageUser(client).open()).sign_in("grace")
        await user.open()
        await user.does("", "load")
        assert "Choose a model" in await user.does("cl-prompt", "submit", ["Hi", "no such model"])
        for event in user._config["dependencies"]:
            if event["backend_fn"] and not any(on == "unload" for _, on in event["targets"]):
                await user.send(
                    {
                        "session_hash": user.session_hash,
                        "fn_index": event["id"],
                        "data": [None] * len(event["inputs"]),
                        "event_data": {"action": ["x"], "value": None},
                        "trigger_id": -1,
                    }
                )
                await user.updates()
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
