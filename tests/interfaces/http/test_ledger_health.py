"""/readyz knows when nothing can be stored, and when it can again, whether or not anybody tries."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from infrastructure.embedded.cluster import SERVICE
from infrastructure.embedded.servers import EmbeddedServers
from tests.support.api import Api, running_api

pytestmark = pytest.mark.asyncio(loop_scope="module")

APPEND_ONLY = "ALTER TABLE ledger.links {} TRIGGER append_only"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own_api(
    embedded_servers: EmbeddedServers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    folder: Path = tmp_path_factory.mktemp("ledger_health")
    async with running_api(embedded_servers, folder) as running:
        yield running


def as_owner(api: Api, *statements: str) -> None:
    with psycopg.connect(api.urls.owner) as connection:
        for statement in statements:
            connection.execute(statement.encode())


async def ledger_becomes(api: Api, status: int) -> dict[str, Any]:
    """The component "ledger" of the first answer with that status."""
    async with asyncio.timeout(30):
        while True:
            response = await api.client.get("/readyz")
            if response.status_code == status:
                parts = {part["name"]: part for part in response.json()["components"]}
                found: dict[str, Any] = parts["ledger"]
                return found
            await asyncio.sleep(0.1)


async def test_a_forged_link_shows_before_anybody_tries_to_commit(own_api: Api) -> None:
    person = await own_api.person()
    assert (await ledger_becomes(own_api, 200))["detail"] == "commits are stored"
    as_owner(
        own_api,
        "INSERT INTO ledger.links VALUES (9000000000000000000, 9000000000000000000, '', '')",
    )

    found = await ledger_becomes(own_api, 503)

    assert not found["healthy"]
    assert "its chain at 9000000000000000000" in found["detail"]
    refused = await person.post("/billing/add", {"amount": 5})
    assert refused.status_code == 503
    as_owner(
        own_api,
        APPEND_ONLY.format("DISABLE"),
        "DELETE FROM ledger.links"
        " WHERE position > (SELECT max(notification_id) FROM ledger.ledger_events)",
        APPEND_ONLY.format("ENABLE ALWAYS"),
    )
    await ledger_becomes(own_api, 200)
    assert (await person.post("/billing/add", {"amount": 5})).status_code == 201


async def test_a_right_that_was_lost_is_told_and_its_return_is_noticed_without_a_command(
    own_api: Api,
) -> None:
    person = await own_api.person()
    as_owner(own_api, f"REVOKE INSERT ON ledger.ledger_events FROM {SERVICE}")
    try:
        assert (await person.post("/billing/add", {"amount": 5})).status_code == 503
        found = await ledger_becomes(own_api, 503)
        assert "permission denied for table ledger_events" in found["detail"]
    finally:
        as_owner(
            own_api,
            "GRANT INSERT (originator_id, originator_version, topic, state)"
            f" ON ledger.ledger_events TO {SERVICE}",
        )
    await ledger_becomes(own_api, 200)
    assert (await person.post("/billing/add", {"amount": 5})).status_code == 201


async def test_a_crowd_that_asks_takes_no_connections_from_others(own_api: Api) -> None:
    def connections() -> int:
        with psycopg.connect(own_api.urls.service) as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'chatledger queries'"
            ).fetchone()
        assert row is not None
        return int(row[0])

    await ledger_becomes(own_api, 200)
    before = connections()

    answers = await asyncio.gather(*(own_api.client.get("/readyz") for _ in range(100)))

    assert {answer.status_code for answer in answers} == {200}
    assert connections() <= max(before, 2)


async def test_what_a_probe_stores_is_gone(own_api: Api) -> None:
    with psycopg.connect(own_api.urls.service) as connection:
        row = connection.execute(
            "SELECT count(*) FROM ledger.ledger_events WHERE topic = 'probe'"
        ).fetchone()
    assert row == (0,)
