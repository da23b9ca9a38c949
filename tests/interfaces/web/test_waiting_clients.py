"""Nobody holds a connection by sending half of something, or by not reading."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from interfaces.web.connections import ConnectionLimits
from tests.interfaces.web.app import BIG, SmallApp
from tests.support.web import RawClient, Web, serving_app

TIMEOUT_S = 0.4
LIMITS = ConnectionLimits(
    header_timeout_s=TIMEOUT_S,
    body_timeout_s=TIMEOUT_S,
    send_timeout_s=TIMEOUT_S,
    keep_alive_timeout_s=TIMEOUT_S,
    bytes_per_s_min=2_000,
    body_bytes_max=4_000,
)
POST = b"POST /body HTTP/1.1\r\nHost: test\r\n"
GET = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


@pytest.fixture
def app() -> SmallApp:
    return SmallApp()


@pytest.fixture
async def web(app: SmallApp) -> AsyncIterator[Web]:
    async with serving_app(app, LIMITS) as web:
        yield web


@pytest.mark.parametrize(
    "half",
    [
        b"G",
        b"GET / HTTP/1.1\r\nHost: te",
        POST + b"Content-Length: 100\r\n\r\n",
        POST + b"Content-Length: 100\r\n\r\nhalf",
        POST + b"Transfer-Encoding: chunked\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n4\r\nha",
        POST + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nTrailer: ",
    ],
)
async def test_half_a_request_is_given_up_with_a_408(web: Web, half: bytes) -> None:
    client = await web.connect()
    client.send(half)

    meanwhile = await web.get()
    answer = await client.rest()

    assert b"200 OK" in meanwhile
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b'"code":"request_timeout"' in answer
    await web.has_connections(0)


@pytest.mark.parametrize(
    "slow",
    [
        b"GET / HTTP/1.1\r\n" + b"X-Header: value\r\n" * 100,
        POST + b"Content-Length: 4000\r\n\r\n" + b"x" * 400,
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 100,
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1;an=extension\r\nx\r\n" * 100,
    ],
)
async def test_dripping_buys_no_time(web: Web, slow: bytes) -> None:
    client = await web.connect()
    at_once = slow[: slow.find(b"\r\n\r\n")] if slow.startswith(POST) else b""
    client.send(at_once)

    answer = await client.drip(slow[len(at_once) :], TIMEOUT_S / 20)

    # A byte that comes after the end resets the connection, and takes the answer with it.
    assert answer.startswith((b"HTTP/1.1 408", b"reset"))
    await web.has_connections(0)


async def test_a_connection_that_says_nothing_is_closed_in_silence(web: Web) -> None:
    client = await web.connect()

    assert await client.rest() == b""


async def test_a_connection_is_kept_for_a_while_and_half_a_next_request_is_given_up(
    web: Web,
) -> None:
    idle, half = await web.connect(), await web.connect()
    for client in (idle, half):
        client.send(GET)
        assert await client.reader.readuntil(b"}")
    half.send(GET[:20])

    assert await idle.rest() == b""
    assert (await half.rest()).startswith(b"HTTP/1.1 408")


async def test_a_body_that_goes_on_after_its_answer_ends_with_the_connection(web: Web) -> None:
    client = await web.connect()
    client.send(POST.replace(b"/body", b"/early") + b"Content-Length: 4000\r\n\r\n")

    answer = await client.drip(b"x" * 400, TIMEOUT_S / 20)

    assert answer.endswith((b"early", b"reset"))
    await web.has_connections(0)


async def test_a_slow_line_that_keeps_the_least_rate_is_served(web: Web) -> None:
    client = await web.connect()
    client.send(POST + b"Connection: close\r\nContent-Length: 4000\r\n\r\n")

    for _ in range(8):
        client.send(b"x" * 500)
        await asyncio.sleep(TIMEOUT_S / 4)
    answer = await client.rest()

    assert answer.endswith(b"4000")


async def test_whoever_does_not_read_loses_the_answer(web: Web, app: SmallApp) -> None:
    client = await web.connect()
    client.send(GET.replace(b"GET /", b"GET /big"))

    await web.has_connections(1)
    assert b"200 OK" in await web.get()
    await web.has_connections(0)

    assert app.ended.count("/big") == 1
    assert len(await client.rest()) < len(BIG)


async def test_whoever_asks_on_and_on_without_reading_is_cut_off(web: Web) -> None:
    client = await web.connect()
    for _ in range(200):
        client.send(GET.replace(b"GET /", b"GET /big"))

    await web.has_connections(1)
    await web.has_connections(0)


async def test_a_slow_reader_that_keeps_the_least_rate_gets_the_whole_answer(web: Web) -> None:
    client = await web.connect()
    client.send(GET.replace(b"GET /", b"GET /big"))

    seen = 0
    while seen < len(BIG):
        chunk = await client.reader.read(2**22)
        seen += len(chunk)
        assert chunk
        await asyncio.sleep(0.002)


async def test_a_stream_outlives_every_limit(web: Web) -> None:
    answer = await web.get("/stream")

    assert answer.count(b"word") == 12
    assert b"end" in answer


async def test_an_answer_may_take_its_time(web: Web, app: SmallApp) -> None:
    client = await web.connect()
    client.send(GET.replace(b"GET /", b"GET /hold"))
    await asyncio.sleep(2.5 * TIMEOUT_S)
    app.released.set()

    async with asyncio.timeout(5):
        assert await client.reader.readuntil(b"held")


async def test_requests_in_a_row_are_answered_in_that_row(web: Web) -> None:
    client: RawClient = await web.connect()
    for _ in range(50):
        client.send(POST + b"Content-Length: 3\r\n\r\nabc")

    for _ in range(50):
        async with asyncio.timeout(5):
            assert await client.reader.readuntil(b"\r\n\r\n3")
