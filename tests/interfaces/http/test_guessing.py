"""Guessing passwords at the API: by spelling, by name, by address, at once, and from behind a page.

The clock of the guard is the test's, so that nothing here waits.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import httpx
import pytest
import pytest_asyncio

from infrastructure.embedded.servers import EmbeddedServers
from interfaces.http.caller import CallerAddresses
from interfaces.http.limits.sign_in_guard import GuardLimits, SignInGuard
from interfaces.web.visitor_address import VISITOR_HEADER, sign_address, visitor_key
from tests.support.api import JWT_SECRET, PASSWORD, Api, Person, running_api

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = GuardLimits(
    pair_free=5,
    address_free=20,
    account_free=60,
    delay_s_max=300,
    turn_s=2,
    forget_s=3600,
    records_max=10_000,
)
_addresses = count(1)


class Clock:
    now_s = 5000.0

    def __call__(self) -> float:
        return self.now_s


def fresh_address() -> str:
    number = next(_addresses)
    return f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(
    embedded_servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    async with running_api(embedded_servers, tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture
def clock(api: Api) -> Clock:
    """Of a guard that has seen nobody yet."""
    clock = Clock()
    guard = SignInGuard(LIMITS, clock=clock)
    api.app.state.services = replace(api.services, sign_in_guard=guard)
    return clock


@asynccontextmanager
async def at(api: Api, address: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose connection comes from there."""
    transport = httpx.ASGITransport(app=api.app, client=(address, 5000))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        yield client


async def sign_in(
    client: httpx.AsyncClient, name: str, password: str = "a wrong one", **headers: str
) -> httpx.Response:
    body = {"username": name, "password": password}
    return await client.post("/auth/login", json=body, headers=headers)


def full_width(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" and c != "@" else c for c in text)


async def test_every_spelling_of_a_name_is_one_budget(
    api: Api, clock: Clock, person: Person
) -> None:
    name, email = person.username, person.email
    spellings = [
        *(name, name.upper(), name.title(), email, email.upper()),
        *(full_width(email), full_width(email.upper()), name.swapcase()),
    ]
    async with at(api, fresh_address()) as client:
        statuses = [(await sign_in(client, spelling)).status_code for spelling in spellings * 4]
        assert statuses == [401] * 5 + [429] * 27

        for spelling in spellings:
            refused = await sign_in(client, spelling, PASSWORD)
            assert refused.status_code == 429, spelling
            assert refused.headers["Retry-After"] == "1"


async def test_the_form_is_the_same_budget_as_the_document(
    api: Api, clock: Clock, person: Person
) -> None:
    async with at(api, fresh_address()) as client:
        for _ in range(5):
            form = {"username": person.username, "password": "a wrong one"}
            assert (await client.post("/auth/token", data=form)).status_code == 401

        assert (await sign_in(client, person.email)).status_code == 429


async def test_a_name_that_nobody_has_is_slowed_down_in_the_same_words(
    api: Api, clock: Clock, person: Person
) -> None:
    answers = []
    for name in (person.username, "nobody-at-all", "nobody@example.com"):
        async with at(api, fresh_address()) as client:
            found = [await sign_in(client, name) for _ in range(7)]
        answers.append([(r.status_code, r.json()["code"], r.json()["detail"]) for r in found])

    assert answers[0] == answers[1] == answers[2]
    assert [status for status, _, _ in answers[0]] == [401] * 5 + [429] * 2


async def test_a_stranger_does_not_lock_the_owner_out(
    api: Api, clock: Clock, person: Person
) -> None:
    async with at(api, fresh_address()) as stranger:
        for _ in range(100):
            await sign_in(stranger, person.username)
            clock.now_s += 1
        refused = await sign_in(stranger, person.username)
        assert int(refused.headers["Retry-After"]) > 1

    for _ in range(3):
        async with at(api, fresh_address()) as owner:
            assert (await sign_in(owner, person.username, PASSWORD)).status_code == 200


async def test_right_passwords_are_never_too_many(api: Api, clock: Clock, person: Person) -> None:
    async with at(api, fresh_address()) as client:
        for _ in range(40):
            assert (await sign_in(client, person.username, PASSWORD)).status_code == 200


async def test_many_guesses_at_once_are_no_more_than_one_after_the_other(
    api: Api, clock: Clock, person: Person
) -> None:
    async with at(api, fresh_address()) as client:
        responses = await asyncio.gather(*(sign_in(client, person.username) for _ in range(40)))

    assert Counter(r.status_code for r in responses) == {401: 5, 429: 35}


async def test_the_names_that_one_address_tries_are_bounded(
    api: Api, clock: Clock, person: Person
) -> None:
    async with at(api, fresh_address()) as client:
        responses = await asyncio.gather(
            *(sign_in(client, f"somebody-{number}") for number in range(60))
        )
        assert Counter(r.status_code for r in responses) == {401: 20, 429: 40}
        assert (await sign_in(client, person.username, PASSWORD)).status_code == 429
    async with at(api, fresh_address()) as client:
        assert (await sign_in(client, person.username, PASSWORD)).status_code == 200


async def test_a_network_of_ipv6_is_one_address_and_so_is_an_ipv4_address_written_as_ipv6(
    api: Api, clock: Clock, person: Person
) -> None:
    families = (
        [f"2001:db8:7:7:{number}::1" for number in range(1, 20)],
        ["192.0.2.77", "::ffff:192.0.2.77", "::ffff:c000:24d"] * 6,
    )
    for addresses in families:
        statuses = []
        for address in addresses:
            async with at(api, address) as client:
                statuses.append((await sign_in(client, person.username)).status_code)
        assert statuses == [401] * 5 + [429] * (len(addresses) - 5)


async def test_guesses_from_many_addresses_are_slowed_down_and_the_owner_gets_in(
    api: Api, clock: Clock, person: Person
) -> None:
    home = fresh_address()
    async with at(api, home) as owner:
        assert (await sign_in(owner, person.username, PASSWORD)).status_code == 200
    let_through = 0
    for _ in range(120):
        async with at(api, fresh_address()) as client:
            let_through += (await sign_in(client, person.username)).status_code == 401
    assert let_through <= LIMITS.account_free + 1

    async with at(api, home) as owner:
        assert (await sign_in(owner, person.username, PASSWORD)).status_code == 200
    async with at(api, fresh_address()) as traveller:
        waiting = await sign_in(traveller, person.username, PASSWORD)
        assert waiting.status_code == 429
        clock.now_s += int(waiting.headers["Retry-After"])
        assert (await sign_in(traveller, person.username, PASSWORD)).status_code == 200


@pytest.mark.parametrize(
    "header",
    ["X-Forwarded-For", "Forwarded", "X-Real-IP", "CF-Connecting-IP", "True-Client-IP"],
)
async def test_nobody_chooses_the_address_that_counts(
    api: Api, clock: Clock, person: Person, header: str
) -> None:
    async with at(api, "127.0.0.1") as client:
        statuses = [
            (
                await sign_in(client, person.username, **{header: f"for=10.9.9.{n}, 10.9.9.{n}"})
            ).status_code
            for n in range(10)
        ]

    assert statuses == [401] * 5 + [429] * 5


async def test_visitors_of_the_page_are_told_apart_and_only_the_page_can_tell(
    api: Api, clock: Clock, person: Person
) -> None:
    now_s = 1_800_000_000.0
    key = visitor_key(JWT_SECRET)
    addresses = CallerAddresses(key, now_s=lambda: now_s)
    api.app.state.services = replace(api.services, caller_addresses=addresses)

    def signed(address: str, at_s: float = now_s, key: bytes = key) -> dict[str, str]:
        return {VISITOR_HEADER: sign_address(address, key, at_s)}

    async with at(api, "127.0.0.1") as page:
        for _ in range(10):
            await sign_in(page, person.username, **signed("203.0.113.1"))
        blamed = await sign_in(page, person.username, PASSWORD, **signed("203.0.113.1"))
        other = await sign_in(page, person.username, PASSWORD, **signed("203.0.113.2"))
        assert (blamed.status_code, other.status_code) == (429, 200)

        # Not signed by the page, or long ago: it counts for the connection's own address.
        forged = [
            {VISITOR_HEADER: "203.0.113.9"},
            signed("203.0.113.9", key=visitor_key("another")),
            signed("203.0.113.9", at_s=now_s - 120),
        ]
        statuses = [
            (await sign_in(page, person.username, **forged[n % 3])).status_code for n in range(9)
        ]
        assert statuses == [401] * 5 + [429] * 4
        innocent = await sign_in(page, person.username, PASSWORD, **signed("203.0.113.9"))
        assert innocent.status_code == 200


async def test_a_key_is_no_way_to_guess_a_password(api: Api, clock: Clock) -> None:
    body: dict[str, Any] = {"username": "grace.hopper", "email": "grace@example.com"}
    key = {"Idempotency-Key": "k"}
    async with at(api, fresh_address()) as owner:
        first = await owner.post("/auth/register", json=body | {"password": PASSWORD}, headers=key)
        assert first.status_code == 201
    async with at(api, fresh_address()) as stranger:
        answers = [
            await stranger.post(
                "/auth/register", json=body | {"password": f"another guess {n}"}, headers=key
            )
            for n in range(8)
        ]
        assert [answer.status_code for answer in answers] == [422] * 5 + [429] * 3
        assert answers[0].json()["code"] == "idempotency_key_reused"
        assert (await sign_in(stranger, "grace.hopper", PASSWORD)).status_code == 429
    async with at(api, fresh_address()) as owner:
        again = await owner.post("/auth/register", json=body | {"password": PASSWORD}, headers=key)
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_whoever_registers_is_known_at_once_where_they_are(api: Api, clock: Clock) -> None:
    async with at(api, fresh_address()) as client:
        body = {"username": "new-here", "email": "new-here@example.com", "password": PASSWORD}
        assert (await client.post("/auth/register", json=body)).status_code == 201
        for number in range(30):
            await sign_in(client, f"somebody-else-{number}")

        assert (await sign_in(client, "new-here", PASSWORD)).status_code == 200


@pytest.mark.parametrize("password", ["password", "12345678", " " * 8, "Password1!", "weak-one"])
async def test_a_guessable_password_is_refused_with_what_to_change(
    api: Api, clock: Clock, password: str
) -> None:
    body = {"username": "weak-one", "email": "weak@example.com", "password": password}

    refused = await api.client.post("/auth/register", json=body)

    assert (refused.status_code, refused.json()["code"]) == (422, "weak_password")
    assert "several words" in refused.json()["errors"][0]["detail"]
    assert refused.json()["errors"][0]["field"] == "password"
