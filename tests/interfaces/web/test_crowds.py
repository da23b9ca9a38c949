"""However many connections somebody holds, there is room for the others."""

import asyncio
import json
from ipaddress import ip_network

import pytest

from interfaces.web.client_address import plain_address, site_of
from interfaces.web.connections import ConnectionLimits
from tests.interfaces.web.app import SmallApp
from tests.support.web import Web, serving_app

HALF = b"POST /body HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\n"
HOLD = b"GET /hold HTTP/1.1\r\nHost: test\r\n\r\n"
LOOPBACK = (ip_network("127.0.0.1"), ip_network("10.1.0.0/16"))


async def hold(web: Web, app: SmallApp, count: int, address: str = "127.0.0.1") -> None:
    """So many requests at work."""
    before = app.held
    for _ in range(count):
        (await web.connect(address)).send(HOLD)
    async with asyncio.timeout(10):
        while app.held < before + count:  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("sent", [b"", b"GET", HALF, b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"])
async def test_connections_that_wait_for_their_client_make_room_for_a_new_one(sent: bytes) -> None:
    limits = ConnectionLimits(connections_per_address_max=20)
    async with serving_app(SmallApp(), limits) as web:
        crowd = [await web.connect() for _ in range(60)]
        for client in crowd:
            client.send(sent)
        answers = [await web.get() for _ in range(10)]

        assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
        assert len(web.connections) <= 20


async def test_who_is_at_work_is_not_pushed_out() -> None:
    app = SmallApp()
    async with serving_app(app, ConnectionLimits(connections_per_address_max=5)) as web:
        client = await web.connect()
        client.send(HOLD)
        await hold(web, app, 3)
        for _ in range(30):
            await web.connect()
        assert (await web.get()).startswith(b"HTTP/1.1 200")
        app.released.set()

        async with asyncio.timeout(5):
            assert await client.reader.readuntil(b"held")


async def test_where_all_are_at_work_the_next_is_told_to_come_back() -> None:
    app = SmallApp()
    async with serving_app(app, ConnectionLimits(connections_per_address_max=5)) as web:
        await hold(web, app, 5)
        client = await web.connect()

        answer = await client.rest()

        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"retry-after: 2\r\n" in answer
        assert b'"code":"too_many_connections"' in answer
        assert (await web.get("/", "127.0.0.2")).startswith(b"HTTP/1.1 200"), "another address"
        app.released.set()


async def test_in_a_full_house_whoever_holds_most_makes_room() -> None:
    app = SmallApp()
    limits = ConnectionLimits(connections_max=12, connections_per_address_max=10)
    async with serving_app(app, limits) as web:
        patient = await web.connect("127.0.0.3")
        greedy = [await web.connect("127.0.0.2") for _ in range(10)]
        for number in range(5):
            answer = await web.get("/", f"127.0.0.{10 + number}")
            await web.connect(f"127.0.0.{10 + number}")
            assert answer.startswith(b"HTTP/1.1 200")

        patient.send(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        assert (await patient.rest()).startswith(b"HTTP/1.1 200")
        assert await greedy[0].rest() in (b"", b"reset")
        assert len(web.connections) <= 12


async def test_nobody_chooses_an_address_unless_a_trusted_proxy_says_so() -> None:
    said = ("X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https")
    for trusted, address, client, scheme in (
        ((), "127.0.0.1", "127.0.0.1", "http"),
        (LOOPBACK, "127.0.0.1", "203.0.113.7", "https"),
        (LOOPBACK, "127.0.0.2", "127.0.0.2", "http"),
    ):
        limits = ConnectionLimits(trusted_proxies=trusted)
        async with serving_app(SmallApp(), limits) as web:
            answer = await web.get("/", address, *said)

        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"client": client, "scheme": scheme}


async def test_of_a_chain_of_proxies_the_last_that_is_not_trusted_counts() -> None:
    said = "X-Forwarded-For: 127.0.0.1, 198.51.100.9, 203.0.113.7, 10.1.2.3"
    async with serving_app(SmallApp(), ConnectionLimits(trusted_proxies=LOOPBACK)) as web:
        answer = await web.get("/", "127.0.0.1", said)

    assert json.loads(answer.partition(b"\r\n\r\n")[2])["client"] == "203.0.113.7"


async def test_a_proxy_is_not_bounded_and_each_of_its_clients_is() -> None:
    app = SmallApp()
    limits = ConnectionLimits(connections_per_address_max=5, trusted_proxies=LOOPBACK)
    greedy = b"X-Forwarded-For: 203.0.113.7\r\n\r\n"
    async with serving_app(app, limits) as web:
        for _ in range(5):
            (await web.connect()).send(HOLD[:-2] + greedy)
        async with asyncio.timeout(10):
            while app.held < 5:  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.01)
        sixth = await web.get("/", "127.0.0.1", "X-Forwarded-For: 203.0.113.7")
        others = [
            await web.get("/", "127.0.0.1", f"X-Forwarded-For: 203.0.113.{number}")
            for number in range(20, 30)
        ]
        app.released.set()

    assert sixth.startswith(b"HTTP/1.1 503")
    assert b'"code":"too_many_requests_open"' in sixth
    assert all(answer.startswith(b"HTTP/1.1 200") for answer in others)


@pytest.mark.parametrize(
    ("address", "plain", "site"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::FFFF:c000:0207", "192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2::", "2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::1", "fe80::/64"),
        ("::1", "::1", "::1"),
        ("unknown", "unknown", "unknown"),
        ("192.0.2.1.example.com", "unknown", "unknown"),
        ("\xe9", "unknown", "unknown"),
        ("", "unknown", "unknown"),
        ("fe80::1%" + "x" * 1000, "unknown", "unknown"),
    ],
)
def test_one_network_of_ipv6_counts_as_one_address(address: str, plain: str, site: str) -> None:
    assert (plain_address(address), site_of(address)) == (plain, site)
