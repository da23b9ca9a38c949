"""The database goes away under the running API: a 503 in time that says so, nothing lost, and no
restart needed afterwards."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from infrastructure.embedded.servers import EmbeddedServers
from tests.interfaces.http.problem import check_problem
from tests.support.api import PASSWORD, Api, running_api
from tests.support.database_proxy import DatabaseProxy
from tests.support.scripted_engine import Pause, script

pytestmark = pytest.mark.asyncio(loop_scope="module")


class BehindProxy:
    """An API, and the proxy before its database."""

    api: Api
    proxy: DatabaseProxy


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    embedded_servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[BehindProxy]:
    found = BehindProxy()
    with ExitStack() as stack:

        def through(url: str) -> str:
            found.proxy = stack.enter_context(DatabaseProxy(url))
            return found.proxy.url

        folder: Path = tmp_path_factory.mktemp("outage")
        async with running_api(
            embedded_servers, folder, through=through, database_timeout_s=1
        ) as found.api:
            yield found


async def recovered(api: Api) -> None:
    async with asyncio.timeout(30):
        while (await api.client.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - polled
            await asyncio.sleep(0.1)


async def test_every_route_that_needs_the_database_says_that_it_is_away(
    service: BehindProxy,
) -> None:
    person = await service.api.person()
    service.proxy.cut()
    try:
        async with asyncio.timeout(30):
            responses = await asyncio.gather(
                person.post("/chat/message", {"message": "Hello"}),
                person.post("/billing/add", {"amount": 5}),
                person.get("/billing/balance"),
                person.get("/chat/history"),
                service.api.client.post(
                    "/auth/login", json={"username": person.username, "password": PASSWORD}
                ),
            )
        alive = await service.api.client.get("/livez")
        ready = await service.api.client.get("/readyz")
        health = await service.api.client.get("/health")
    finally:
        service.proxy.restore()

    for response in responses:
        check_problem(response, 503)
        assert response.json()["code"] in ("ledger_unavailable", "read_model_behind")
        assert int(response.headers["Retry-After"]) > 0
    assert (alive.status_code, ready.status_code, health.status_code) == (200, 503, 200)
    assert int(ready.headers["Retry-After"]) > 0
    assert health.json()["status"] == "degraded"
    await recovered(service.api)
    assert await person.available() == 100
    assert (await person.say())["balance"] == {"available": 98, "held": 0}


async def test_an_answer_under_way_is_paid_for_when_the_database_is_back(
    service: BehindProxy,
) -> None:
    person = await service.api.person()
    pause = Pause()
    service.api.engine.script_next(script("Forty ", pause, "two."))
    asked = asyncio.create_task(person.post("/chat/message", {"message": "Hello"}))
    await pause.reached()

    service.proxy.cut()
    pause.go_on()
    await asyncio.sleep(1.5)
    service.proxy.restore()

    response = await asked
    assert response.status_code == 200
    assert response.json()["balance"] == {"available": 98, "held": 0}
    await recovered(service.api)
    assert await person.balance() == (98, 0)


async def test_a_purchase_in_doubt_is_made_once_when_it_is_sent_again(service: BehindProxy) -> None:
    person = await service.api.person()
    key = {"Idempotency-Key": "k"}

    service.proxy.cut_at_next_commit()
    asked = asyncio.create_task(person.post("/billing/add", {"amount": 5}, headers=key))
    await asyncio.to_thread(service.proxy.commit_lost.wait, 20)
    await asyncio.sleep(0.5)
    service.proxy.restore()
    first = await asked
    await recovered(service.api)
    again = await person.post("/billing/add", {"amount": 5}, headers=key)

    assert first.status_code in (201, 503)
    assert again.status_code == 201
    assert again.headers["Idempotency-Replayed"] == "true"
    assert await person.available() == 105
