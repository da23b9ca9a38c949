"""The administrator whose password everybody knows is for a new ledger on one machine alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from application.ledger import Ledger, Transaction
from application.streams import USER
from application.users import Users
from domain.users.commands import AssignRole
from domain.users.decider import decide
from domain.users.events import UserRole
from infrastructure.identity import SystemClock
from infrastructure.postgres.migrate import migrate
from infrastructure.settings import (
    DEVELOPMENT_ADMIN_PASSWORD,
    Settings,
    SettingsError,
    load_settings,
)
from interfaces.endpoints import Endpoints, open_ledger
from interfaces.identity_composition import ensure_admin, open_users
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

        await self._ledger.transact(work, streams=(user.id,))

    def project(self) -> None:
        """As the read model would have it by now."""
        with psycopg.connect(self._urls.owner, autocommit=True) as connection:
            last = "SELECT max(notification_id) FROM ledger.ledger_events"
            connection.execute(f"UPDATE read.positions SET position = ({last})")
            connection.execute(
                "INSERT INTO read.users SELECT DISTINCT originator_id, 'name', 'e-mail', false,"
                " 'admin', false, now() FROM ledger.ledger_events"
                " WHERE topic = 'user.role_assigned'"
            )


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


@pytest.mark.parametrize("is_projected", [False, True])
async def test_where_others_come_every_administrator_is_tried_with_the_known_password(
    database: DatabaseUrls, is_projected: bool
) -> None:
    async with beginning(database) as service:
        await service.start()
        await service.register("grace", DEVELOPMENT_ADMIN_PASSWORD)
        await service.register("ada", PASSWORD)
        await service.register("former", DEVELOPMENT_ADMIN_PASSWORD)
        await service.register("linus", DEVELOPMENT_ADMIN_PASSWORD, UserRole.USER)
        await service.assign("former", UserRole.USER)
        if is_projected:
            service.project()

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
