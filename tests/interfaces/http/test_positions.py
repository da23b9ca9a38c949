"""`Ledger-Position` is waited for by whoever is signed in, and by nobody for ever."""

import asyncio
from dataclasses import replace

import httpx
import pytest

from interfaces.http.limits.rate_limits import PositionWaits
from tests.interfaces.http.problem import NOWHERE, check_problem
from tests.support.api import Api, Person

pytestmark = pytest.mark.asyncio(loop_scope="module")

FAR_AHEAD = "999999999999999999"
LIMIT_S = 20


def routes_that_wait(api: Api) -> list[str]:
    return [
        path.replace("{message_id}", NOWHERE)
        for path, operations in api.app.openapi()["paths"].items()
        for operation in operations.values()
        if any(p["name"] == "Ledger-Position" for p in operation.get("parameters", []))
    ]


@pytest.fixture
def patient(api: Api) -> Api:
    """Waits for an hour, for two queries of a user at once."""
    waits = PositionWaits(2, timeout_s=3600)
    api.app.state.services = replace(api.services, position_waits=waits)
    return api


@pytest.mark.parametrize("position", ["1", FAR_AHEAD, "not a number"])
async def test_a_stranger_is_asked_who_they_are_before_anything_else(
    patient: Api, position: str
) -> None:
    assert len(routes_that_wait(patient)) >= 5
    for path in routes_that_wait(patient):
        for token in ({}, {"Authorization": "Bearer nonsense"}):
            headers = {"Ledger-Position": position} | token
            async with asyncio.timeout(LIMIT_S):
                check_problem(await patient.client.get(path, headers=headers), 401)


async def test_every_other_route_takes_no_notice_of_a_position(patient: Api) -> None:
    for path in ("/livez", "/readyz", "/health", "/chat/models", "/billing/packages"):
        async with asyncio.timeout(LIMIT_S):
            found = await patient.client.get(path, headers={"Ledger-Position": FAR_AHEAD})
        assert found.status_code in (200, 503)


async def test_the_queries_of_one_user_that_wait_are_bounded(patient: Api, person: Person) -> None:
    assert (await person.get("/billing/balance")).status_code == 200
    ahead = {"Ledger-Position": FAR_AHEAD}
    tasks = {asyncio.create_task(person.get("/billing/balance", headers=ahead)) for _ in range(5)}
    refused: set[asyncio.Task[httpx.Response]] = set()
    async with asyncio.timeout(LIMIT_S):
        while len(refused) < 3:
            done, _ = await asyncio.wait(tasks - refused, return_when=asyncio.FIRST_COMPLETED)
            refused |= done
        for task in refused:
            check_problem(task.result(), 503, code="read_model_behind")
            assert task.result().headers["Retry-After"]
        assert (await person.get("/billing/balance")).status_code == 200, "what is there is there"
    waiting = tasks - refused
    assert not any(task.done() for task in waiting)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
