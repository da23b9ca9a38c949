"""Whoever has the credentials of the database alone makes no credits, no roles and no sessions."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import bcrypt
import psycopg
import pytest
from eventsourcing.persistence import StoredEvent

from application.ledger.event_macs import EventNotAuthentic, VersionMissing
from application.ledger.streams import ACCOUNT, CLAIM, CONVERSATION, IDEMPOTENCY, SESSION, USER
from domain.accounts import commands as c
from domain.accounts.decider import decide as decide_account
from domain.accounts.events import CreditsDebited, CreditsGranted
from domain.claims.idempotency import IdempotencyKey
from domain.claims.uniqueness import claim
from domain.credits import MICRO_PER_CREDIT
from domain.events import Event, header
from domain.identifiers import account_id, idempotency_claim_id, username_claim_id
from domain.sessions.events import SessionOpened
from domain.users.events import PasswordChanged, RoleAssigned, UserRole
from infrastructure.process.clock_ids import TimeOrderedIds
from tests.application.world import PASSWORD, World, an_order, message, welcome_balance
from tests.support.forging import FORGERIES, Forger, Forgery, made
from tests.support.keys import LEDGER_KEYS
from tests.support.servers import DatabaseUrls

NEW_ID = TimeOrderedIds().new_id
MILLION_MICRO = 10**6 * MICRO_PER_CREDIT


@pytest.fixture
async def world(migrated: DatabaseUrls) -> AsyncIterator[World]:
    """The books are not checked at the end: they hold what a forger has put there."""
    opened = World(migrated)
    yield opened
    await opened.close()


@pytest.fixture
def forger(migrated: DatabaseUrls) -> Forger:
    return Forger(migrated)


@pytest.fixture
async def restarted(world: World) -> AsyncIterator[World]:
    """Another process, with nothing in memory."""
    opened = world.beside()
    yield opened
    await opened.close()


async def a_grant(world: World, user_id: UUID) -> Event:
    """As the ledger itself would write it."""
    state = await world.ledger.load(ACCOUNT, account_id(user_id))
    grant = c.GrantCredits(
        grant_id=NEW_ID(),
        amount_micro=MILLION_MICRO,
        expires_at=None,
        reason="generosity",
        granted_by=None,
    )
    (event,) = decide_account(grant, state, world.clock.now())
    return event


async def a_purchase(world: World, user_id: UUID) -> Event:
    state = await world.ledger.load(ACCOUNT, account_id(user_id))
    purchase = c.PurchaseCredits(
        purchase_id=NEW_ID(),
        amount_micro=MILLION_MICRO,
        bonus_id=NEW_ID(),
        bonus_micro=0,
        package_id=None,
        development=False,
    )
    (event,) = decide_account(purchase, state, world.clock.now())
    return event


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES.keys())
async def test_a_debit_that_nobody_paid_is_not_refunded(
    world: World, restarted: World, forger: Forger, forgery: Forgery
) -> None:
    user_id, admin = await world.a_user(), await world.an_admin()
    stream = account_id(user_id)
    await world.ask(user_id)
    debit = await world.ledger.newest(stream, [CreditsDebited], lambda _: True)
    assert debit is not None
    forged = replace(
        debit,
        originator_version=debit.originator_version + 1,
        message_id=NEW_ID(),
        amount_micro=MILLION_MICRO,
    )
    position = forger.insert(forgery(forged, forger.stored(stream)))

    with pytest.raises(EventNotAuthentic) as refused:
        await restarted.account_administration.refund(
            an_order(admin, "k"), user_id=user_id, message_id=forged.message_id
        )
    assert refused.value.position == position


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES.keys())
async def test_a_grant_is_refused(
    world: World, restarted: World, forger: Forger, forgery: Forgery
) -> None:
    user_id, other = await world.a_user(), await world.a_user()
    stream = account_id(user_id)
    event = await a_grant(world, user_id)
    position = forger.insert(forgery(event, forger.stored(stream)))

    with pytest.raises(EventNotAuthentic) as refused:
        await restarted.ledger.load(ACCOUNT, stream)
    error = refused.value
    assert (error.stream_id, error.version) == (stream, event.originator_version)
    assert error.position == position
    assert f"at position {position} of the log, was not written by this ledger" in str(error)
    with pytest.raises(EventNotAuthentic):
        await restarted.send(user_id)
    # Who had the account in memory meets the forgery when writing.
    with pytest.raises(EventNotAuthentic):
        await world.send(user_id)
    with pytest.raises(EventNotAuthentic):
        await restarted.accounts.balance_at(user_id=user_id, at=world.clock.now())
    # Nobody else is concerned.
    await restarted.ask(other)


async def test_a_purchase_is_refused(world: World, restarted: World, forger: Forger) -> None:
    user_id = await world.a_user()
    forger.insert(made(await a_purchase(world, user_id)))
    with pytest.raises(EventNotAuthentic):
        await restarted.balance(user_id)


async def test_the_mac_of_another_topic_proves_nothing(
    world: World, restarted: World, forger: Forger
) -> None:
    """All fields of the one are fields of the other."""
    user_id = await world.a_user()
    (*_, last) = forger.stored(account_id(user_id))
    assert last.topic == CreditsGranted.TOPIC
    forged = StoredEvent(
        last.originator_id, last.originator_version + 1, "account.credits_purchased", last.state
    )
    forger.insert(forged)
    with pytest.raises(EventNotAuthentic, match="credits_purchased"):
        await restarted.balance(user_id)


async def test_what_was_granted_to_one_is_granted_to_nobody_else(
    world: World, restarted: World, forger: Forger
) -> None:
    giver, taker = await world.a_user(), await world.a_user()
    (*_, last) = forger.stored(account_id(giver))
    forger.insert(
        StoredEvent(account_id(taker), last.originator_version + 1, last.topic, last.state)
    )
    with pytest.raises(EventNotAuthentic):
        await restarted.balance(taker)
    assert await restarted.balance(giver) == welcome_balance(10)


async def test_a_role_and_a_password_are_refused(
    world: World, restarted: World, forger: Forger
) -> None:
    mine = bcrypt.hashpw(b"mine now", bcrypt.gensalt(4)).decode()
    for event_type, fields in (
        (RoleAssigned, {"role": UserRole.ADMIN, "assigned_by": None}),
        (
            PasswordChanged,
            {"password_hash": mine},
        ),
    ):
        user_id = await world.a_user()
        user = await world.ledger.load(USER, user_id)
        assert user is not None
        event: Any = event_type(**header(user_id, user.version + 1, world.clock.now()), **fields)
        forger.insert(made(event))
        with pytest.raises(EventNotAuthentic):
            await restarted.ledger.load(USER, user_id)
        for password in (PASSWORD, "mine now"):
            with pytest.raises(EventNotAuthentic):
                await restarted.users.sign_in(login=user.username, password=password)


async def test_a_session_is_refused(world: World, restarted: World, forger: Forger) -> None:
    user_id, session_id = await world.a_user(), NEW_ID()
    now = world.clock.now()
    opened = SessionOpened(
        **header(session_id, 1, now), user_id=user_id, expires_at=now + timedelta(days=365)
    )
    forger.insert(made(opened))
    with pytest.raises(EventNotAuthentic):
        await restarted.users.principal(user_id=user_id, session_id=session_id)
    with pytest.raises(EventNotAuthentic):
        await restarted.users.refresh(session_id=session_id, generation=0)
    assert await restarted.ledger.load(CONVERSATION, NEW_ID()) is None
    with pytest.raises(EventNotAuthentic):
        await restarted.ledger.load(SESSION, session_id)


async def test_a_name_and_a_recorded_answer_are_refused(
    world: World, restarted: World, forger: Forger
) -> None:
    user_id = await world.a_user()
    now = world.clock.now()
    name = claim(username_claim_id("grace"), kind="username", owner_id=user_id, now=now)
    key = IdempotencyKey(claim_id=idempotency_claim_id(user_id, "k"), request_hash="ab" * 32)
    answer = key.complete(None, result='{"credited":"1000000"}', now=now)
    forger.insert(made(name), made(answer))

    with pytest.raises(EventNotAuthentic):
        await restarted.ledger.load(CLAIM, username_claim_id("grace"))
    with pytest.raises(EventNotAuthentic):
        await restarted.ledger.load(IDEMPOTENCY, key.claim_id)
    with pytest.raises(EventNotAuthentic):
        await restarted.users.register(
            username="grace", email="grace@example.com", password=PASSWORD
        )
    with pytest.raises(EventNotAuthentic):
        await restarted.chat.send(message(user_id, key="k"))
    await restarted.ask(user_id)


async def test_a_version_that_is_missing_is_noticed(
    world: World, restarted: World, forger: Forger
) -> None:
    """As after somebody who owns the database has removed a debit."""
    user_id = await world.a_user()
    state = await world.ledger.load(ACCOUNT, account_id(user_id))
    assert state is not None
    event = await a_grant(world, user_id)
    vars(event)["originator_version"] = state.version + 2
    forger.insert(made(event, LEDGER_KEYS))
    with pytest.raises(VersionMissing, match=f"version {state.version + 1} .* is missing"):
        await restarted.balance(user_id)
    with pytest.raises(VersionMissing):
        await world.ledger.load(ACCOUNT, account_id(user_id))


async def test_what_a_forger_left_is_projected_by_nobody_and_holds_up_nobody(
    world: World, forger: Forger
) -> None:
    user_id, other = await world.a_user(), await world.a_user()
    event = await a_grant(world, user_id)
    forger.insert(made(event))
    await world.ask(other)
    await world.project()

    with psycopg.connect(world.urls.service) as connection:
        available_micro: dict[UUID, int] = dict(
            connection.execute(
                "SELECT user_id, paid_micro + promotional_micro FROM read.balances"
            ).fetchall()
        )
    assert available_micro == {user_id: 10 * MICRO_PER_CREDIT, other: 8 * MICRO_PER_CREDIT}
