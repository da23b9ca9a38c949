"""The administrator whose password everybody knows is for a new ledger on one machine alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import LiteralString

import psycopg
import pytest
import structlog

from application.ledger.ledger import Ledger, Transaction
from application.ledger.streams import USER
from application.users.users import Users
from domain.identifiers import account_id
from domain.users.commands import AssignRole
from domain.users.decider import decide
from domain.users.events import UserRole
from infrastructure.database.migrate import migrate
from infrastructure.process.clock_ids import SystemClock, TimeOrderedIds
from infrastructure.settings.service import (
    DEVELOPMENT_ADMIN_PASSWORD,
    Settings,
    SettingsError,
    load_settings,
)
from interfaces.composition.endpoints import Endpoints, open_ledger
from interfaces.composition.identity import ensure_admin, open_users
from tests.support.keys import LEDGER_KEYS
from tests.support.servers import DatabaseUrls

ON_NETWORK: dict[str, object] = {"host": "0.0.0.0", "unsafe_development_on_network": True}
PASSWORD = "umbrella tangent 41 quarry"


class Beginning:
    """What a start does about administrators."""

    def __init__(self, urls: DatabaseUrls, ledger: Ledger, users: Users) -> None:
        self._urls = urls
        self._ledger = ledger
        self.users = users

    async def start(self, **changes: object) -> None:
        await ensure_admin(_settings(**changes), self._urls.service, self._ledger, self.users)

    async def register(self, name: str, password: str, role: UserRole = UserRole.ADMIN) -> None:
        email = f"{name}@example.com"
        await self.users.register(
            username=name, email=email, password=password, role=role, seeded=True
        )

    async def assign(self, name: str, role: UserRole) -> None:
        user = await self.users.find(name)
        assert user is not None

        def work(transaction: Transaction) -> None:
            state = transaction.load(USER, user.id)
            command = AssignRole(role=role, assigned_by=None)
            transaction.add(USER, *decide(command, state, SystemClock().now()))

        await self._ledger.transact(work)

    def as_service(self, statement: LiteralString, *parameters: object) -> None:
        """What somebody does who has the password of the service's role."""
        with psycopg.connect(self._urls.service, autocommit=True) as connection:
            connection.execute(statement, parameters)


def _settings(**changes: object) -> Settings:
    given: dict[str, object] = {"environment": "test", "bcrypt_rounds": 4}
    return load_settings(_env_file=None, **given | changes)


@asynccontextmanager
async def beginning(urls: DatabaseUrls) -> AsyncIterator[Beginning]:
    migrate(urls.owner, urls.service)
    endpoints = Endpoints(owner_url=urls.owner, service_url=urls.service, nats_url="")
    ledger = open_ledger(_settings(), endpoints, LEDGER_KEYS)
    try:
        with open_users(_settings(), ledger) as users:
            yield Beginning(urls, ledger, users)
    finally:
        await ledger.aclose()


async def test_a_new_ledger_on_this_machine_has_the_known_administrator(
    database: DatabaseUrls,
) -> None:
    async with beginning(database) as service:
        await service.start()
        await service.start()

        admin = await service.users.find("admin")
        assert admin is not None
        assert await service.users.has_password(admin, DEVELOPMENT_ADMIN_PASSWORD)


@pytest.mark.parametrize(
    "others_come",
    [
        ON_NETWORK,
        {"trusted_proxies": "127.0.0.1"},
        {"environment": "production", "bcrypt_rounds": 10},
    ],
)
async def test_where_others_come_nobody_is_made_administrator(
    database: DatabaseUrls, others_come: dict[str, object]
) -> None:
    async with beginning(database) as service:
        await service.start(**others_come)

        assert await service.users.find("admin") is None


async def test_a_ledger_that_has_begun_gets_no_known_administrator(database: DatabaseUrls) -> None:
    async with beginning(database) as service:
        await service.register("ada", PASSWORD, UserRole.USER)
        await service.start()

        assert await service.users.find("admin") is None


async def test_where_others_come_every_administrator_is_tried_with_the_known_password(
    database: DatabaseUrls,
) -> None:
    async with beginning(database) as service:
        await service.start()
        await service.register("grace", DEVELOPMENT_ADMIN_PASSWORD)
        await service.register("ada", PASSWORD)
        await service.register("former", DEVELOPMENT_ADMIN_PASSWORD)
        await service.register("linus", DEVELOPMENT_ADMIN_PASSWORD, UserRole.USER)
        await service.assign("former", UserRole.USER)

        with pytest.raises(SettingsError) as refusal:
            await service.start(**ON_NETWORK)
        assert "`chatledger users set-password admin`" in str(refusal.value)
        assert "`chatledger users set-password grace`" in str(refusal.value)
        for name in ("ada", "former", "linus"):
            assert name not in str(refusal.value)

        for name in ("admin", "grace"):
            user = await service.users.find(name)
            assert user is not None
            await service.users.set_password(user, PASSWORD)
        await service.start(**ON_NETWORK)
        await service.assign("former", UserRole.ADMIN)
        with pytest.raises(SettingsError, match="former"):
            await service.start(**ON_NETWORK)


async def test_read_models_hide_no_administrator_with_the_known_password(
    database: DatabaseUrls,
) -> None:
    async with beginning(database) as service:
        await service.start()
        service.as_service("DELETE FROM read.users")
        service.as_service(
            "INSERT INTO read.positions (projection, position) VALUES ('users', 1000000)"
        )

        with pytest.raises(SettingsError, match="set-password admin"):
            await service.start(**ON_NETWORK)


async def test_forged_roles_stop_no_start_and_are_one_line_in_the_log(
    database: DatabaseUrls,
) -> None:
    """On streams of nobody, of a user, and of an account, which is passed over as no user's."""
    ids = TimeOrderedIds()
    forge: LiteralString = (
        "INSERT INTO ledger.ledger_events (originator_id, originator_version, topic, state)"
        " SELECT %s, coalesce(max(originator_version), 0) + 1, 'user.role_assigned', '{}'"
        " FROM ledger.ledger_events WHERE originator_id = %s"
    )
    async with beginning(database) as service:
        await service.register("ada", PASSWORD, UserRole.USER)
        ada = await service.users.find("ada")
        assert ada is not None
        for stream in (ids.new_id(), ids.new_id(), ada.id, account_id(ada.id)):
            service.as_service(forge, stream, stream)

    async with beginning(database) as service:
        with structlog.testing.capture_logs() as logs:
            await service.start(**ON_NETWORK)

    (line,) = logs
    assert (line["event"], line["count"]) == ("administrators_not_checked", 3)
