"""POST /auth/refresh: a token is good once, and two tabs share it."""

import asyncio
from pathlib import Path

import httpx
import pytest

from infrastructure.embedded.servers import EmbeddedServers
from tests.support.api import Api, Person, running_api

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def refresh(api: Api, token: str) -> httpx.Response:
    return await api.client.post("/auth/refresh", json={"refresh_token": token})


async def test_a_refresh_token_that_was_replaced_twice_ends_the_session(
    api: Api, person: Person
) -> None:
    first = await refresh(api, person.tokens["refresh_token"])
    second = await refresh(api, first.json()["refresh_token"])
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json()["refresh_token"] != person.tokens["refresh_token"]

    reused = await refresh(api, person.tokens["refresh_token"])
    assert (reused.status_code, reused.json()["code"]) == (401, "refresh_token_reused")
    ended = await refresh(api, second.json()["refresh_token"])
    assert (ended.status_code, ended.json()["code"]) == (401, "session_ended")
    headers = {"Authorization": f"Bearer {second.json()['access_token']}"}
    assert (await api.client.get("/auth/me", headers=headers)).status_code == 401


async def test_two_tabs_that_refresh_at_once_both_stay_signed_in(api: Api, person: Person) -> None:
    pairs = await asyncio.gather(
        *(refresh(api, person.tokens["refresh_token"]) for _ in ("a tab", "another"))
    )

    for pair in pairs:
        assert pair.status_code == 200
        headers = {"Authorization": f"Bearer {pair.json()['access_token']}"}
        assert (await api.client.get("/auth/me", headers=headers)).status_code == 200
    for pair in pairs:
        assert (await refresh(api, pair.json()["refresh_token"])).status_code == 200


async def test_without_a_grace_a_refresh_token_is_good_once(
    embedded_servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with running_api(embedded_servers, tmp_path, refresh_grace_s=0) as strict:
        person = await strict.person()
        assert (await refresh(strict, person.tokens["refresh_token"])).status_code == 200
        reused = await refresh(strict, person.tokens["refresh_token"])

    assert (reused.status_code, reused.json()["code"]) == (401, "refresh_token_reused")
