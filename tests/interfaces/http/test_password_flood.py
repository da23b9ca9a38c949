"""Many passwords at once: a bounded number is worked on, and people who are known come through."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from infrastructure.embedded.servers import EmbeddedServers
from tests.interfaces.http.problem import check_problem
from tests.interfaces.http.test_guessing import at, fresh_address, sign_in
from tests.support.api import PASSWORD, Api, running_api

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOME = "192.0.2.200"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def narrow(
    embedded_servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    """One hash at a time, three that wait, twenty in a minute; and somebody who lives at HOME."""
    async with running_api(
        embedded_servers,
        tmp_path_factory.mktemp("api"),
        bcrypt_rounds=8,
        password_threads=1,
        password_queue_max=3,
        password_queue_address_max=2,
        password_hashes_per_minute=20,
    ) as running:
        async with at(running, HOME) as client:
            body = {"username": "at-home", "email": "at-home@example.com", "password": PASSWORD}
            assert (await client.post("/auth/register", json=body)).status_code == 201
        yield running


async def test_a_flood_is_told_to_come_back_and_the_owner_signs_in_meanwhile(narrow: Api) -> None:
    async with at(narrow, fresh_address()) as flood, at(narrow, HOME) as home:
        guesses = [
            asyncio.create_task(sign_in(flood, f"somebody-{number}")) for number in range(60)
        ]
        assert (await sign_in(home, "at-home", PASSWORD)).status_code == 200
        answers = await asyncio.gather(*guesses)

    found = Counter(answer.status_code for answer in answers)
    assert set(found) == {401, 503}, found
    for answer in answers:
        if answer.status_code == 503:
            check_problem(answer, 503, code="sign_in_busy")
            assert int(answer.headers["Retry-After"]) > 0


async def test_beyond_the_budget_of_a_minute_strangers_wait_and_people_at_home_do_not(
    narrow: Api,
) -> None:
    statuses = []
    for number in range(25):
        async with at(narrow, fresh_address()) as stranger:
            statuses.append((await sign_in(stranger, f"nobody-{number}")).status_code)
    assert statuses[-1] == 503
    async with at(narrow, fresh_address()) as stranger:
        body = {"username": "too-late", "email": "too-late@example.com", "password": PASSWORD}
        refused = await stranger.post("/auth/register", json=body)
        check_problem(refused, 503, code="sign_in_busy")

    async with at(narrow, HOME) as home:
        assert (await sign_in(home, "at-home", PASSWORD)).status_code == 200
