"""Somebody with the database's credentials writes into it, and the API is started again. What it
says stays true, and nothing is refused but what was forged."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import httpx
import psycopg
import pytest
import pytest_asyncio

from application.ledger.ledger import LedgerApplication
from application.ledger.snapshots import take_snapshot
from application.ledger.streams import ACCOUNT, USER
from domain.accounts.commands import GrantCredits
from domain.accounts.decider import decide as decide_account
from domain.accounts.state import AccountState
from domain.credits import MICRO_PER_CREDIT
from domain.events import header
from domain.identifiers import account_id
from domain.users.events import RoleAssigned, UserRole
from domain.users.state import UserState
from infrastructure.event_store.recorder import open_application
from infrastructure.process.clock_ids import TimeOrderedIds
from interfaces.composition.endpoints import Endpoints
from interfaces.composition.services import open_services
from interfaces.http.app import create_app
from tests.interfaces.http.problem import check_problem
from tests.support.api import PASSWORD, Api, Person
from tests.support.forging import Forger, made
from tests.support.scripted_engine import ScriptedEngine

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOW = datetime(2026, 11, 28, tzinfo=UTC)
MILLION_MICRO = 10**6 * MICRO_PER_CREDIT


@pytest_asyncio.fixture(loop_scope="module")
async def restarted(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    """Another process of the service, with nothing in memory yet."""
    endpoints = Endpoints(
        owner_url=api.urls.owner,
        service_url=api.urls.service,
        nats_url=api.settings.nats_url.get_secret_value(),
    )
    app = create_app(
        lambda: open_services(api.settings, endpoints, ScriptedEngine()),
        request_body_bytes_max=api.settings.request_body_bytes_max,
        new_id=TimeOrderedIds().new_id,
    )
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api") as client,
    ):
        yield client


@contextmanager
def the_ledger(api: Api) -> Iterator[LedgerApplication]:
    application = open_application(
        api.urls.service, api.ledger_keys, threads=1, connect_timeout_s=5, cached_streams_max=1
    )
    yield application
    application.close()


def account_of(api: Api, person: Person) -> AccountState:
    with the_ledger(api) as application:
        state = application.load(ACCOUNT, account_id(UUID(person.user_id)))
    assert state is not None
    return state


def user_of(api: Api, person: Person) -> UserState:
    with the_ledger(api) as application:
        state = application.load(USER, UUID(person.user_id))
    assert state is not None
    return state


async def test_forged_snapshots_give_neither_credits_nor_a_role(
    api: Api, person: Person, restarted: httpx.AsyncClient
) -> None:
    account, user = account_of(api, person), user_of(api, person)
    (bucket,) = account.buckets
    rich = replace(account, buckets=(replace(bucket, free_micro=MILLION_MICRO),))
    Forger(api.urls).insert(
        made(take_snapshot(ACCOUNT, rich, NOW)),
        made(take_snapshot(USER, replace(user, role=UserRole.ADMIN), NOW)),
        table="ledger_snapshots",
    )

    me = await restarted.get("/auth/me", headers=person.headers)
    quote = await restarted.post(
        "/chat/quote", json={"message": "How much?"}, headers=person.headers
    )

    assert (me.status_code, me.json()["role"]) == (200, "user")
    assert (quote.status_code, quote.json()["available"]) == (200, 100)


async def test_a_forged_grant_is_a_fault_of_that_account_alone(
    api: Api, person: Person, restarted: httpx.AsyncClient
) -> None:
    other = await api.person()
    grant = GrantCredits(
        grant_id=TimeOrderedIds().new_id(),
        amount_micro=MILLION_MICRO,
        expires_at=None,
        reason="generosity",
        granted_by=None,
    )
    (event,) = decide_account(grant, account_of(api, person), NOW)
    Forger(api.urls).insert(made(event))

    for client in (restarted, api.client):
        for path, body in (
            ("/chat/message", {"message": "Hello"}),
            ("/billing/add", {"amount": 5}),
        ):
            refused = await client.post(path, json=body, headers=person.headers)
            check_problem(refused, 500, code="ledger_damaged")
            assert "tell the operator" in refused.json()["detail"]
            assert "MAC" not in refused.text
        me = await client.get("/auth/me", headers=person.headers)
        assert me.status_code == 200
    # The read models went past it, for others and for this account.
    await other.say()
    assert await other.balance() == (98, 0)
    balance = await restarted.get(
        "/billing/balance", headers=person.headers | {"Ledger-Position": other.position}
    )
    assert balance.json()["available"] == 100


async def test_no_receipt_is_proven_by_events_that_the_ledger_did_not_write(
    api: Api, person: Person
) -> None:
    """The chain and the checkpoints hold whatever is in the log."""
    new_id = TimeOrderedIds().new_id
    own, message_id = (await person.say())["message_id"], new_id()
    assert (await person.get(f"/billing/receipts/{own}")).status_code == 200
    grant = GrantCredits(
        grant_id=new_id(),
        amount_micro=MILLION_MICRO,
        expires_at=None,
        reason="a receipt that was bought",
        granted_by=None,
    )
    (event,) = decide_account(grant, account_of(api, person), NOW)
    position = Forger(api.urls).insert(made(event))
    with psycopg.connect(api.urls.service) as connection:
        connection.execute(
            "INSERT INTO read.receipts SELECT (r).* FROM (SELECT jsonb_populate_record("
            "  t, jsonb_build_object('message_id', %s::uuid, 'hold_position', %s::bigint,"
            "  'settlement_position', %s::bigint)) AS r"
            " FROM read.receipts AS t WHERE message_id = %s) AS forged",
            (message_id, position, position, own),
        )

    refused = await person.get(f"/billing/receipts/{message_id}")
    check_problem(refused, 500, code="ledger_damaged")
    assert (await person.get(f"/billing/receipts/{own}")).status_code == 200


async def test_a_forged_role_is_a_fault_of_that_user_alone(
    api: Api, person: Person, restarted: httpx.AsyncClient
) -> None:
    user = user_of(api, person)
    role = RoleAssigned(
        **header(user.id, user.version + 1, NOW), role=UserRole.ADMIN, assigned_by=None
    )
    Forger(api.urls).insert(made(role))
    other = await api.person()

    answers = [
        await restarted.get("/auth/me", headers=person.headers),
        await restarted.post(
            "/auth/login", json={"username": person.username, "password": PASSWORD}
        ),
        await restarted.get("/billing/balance", headers=person.headers),
    ]

    for refused in answers:
        check_problem(refused, 500, code="ledger_damaged")
    me = await restarted.get("/auth/me", headers=other.headers)
    assert me.json()["role"] == "user"
