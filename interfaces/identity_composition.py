"""Builds what knows who is asking: users, tokens, and development's administrator."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import structlog

from application.ledger import Ledger
from application.streams import USER
from application.users import UserPolicy, Users
from domain.users.events import UserRole
from infrastructure.identity import BcryptHasher, SystemClock, TimeOrderedIds
from infrastructure.postgres.administrators import is_empty_ledger, possible_administrators
from infrastructure.secret_files import secret_from
from infrastructure.settings import DEVELOPMENT_ADMIN_PASSWORD, Settings, SettingsError
from infrastructure.tokens import Tokens

log = structlog.get_logger()

ADMIN_USERNAME = "admin"
ADMIN_EMAIL = "admin@example.com"


def build_users(settings: Settings, ledger: Ledger, hasher: BcryptHasher) -> Users:
    return Users(
        ledger=ledger,
        clock=SystemClock(),
        ids=TimeOrderedIds(),
        hasher=hasher,
        policy=UserPolicy(
            welcome_micro=settings.welcome_micro,
            session_lifetime=timedelta(days=settings.refresh_expire_days),
        ),
    )


def build_tokens(settings: Settings) -> Tokens:
    return Tokens(
        secret=secret_from(
            settings.jwt_secret_key.get_secret_value(), settings.data_dir / "jwt_secret_key"
        ),
        algorithm=settings.jwt_algorithm,
        access_lifetime=timedelta(minutes=settings.jwt_expire_minutes),
        clock=SystemClock(),
    )


async def ensure_admin(
    settings: Settings, service_url: str, ledger: Ledger, hasher: BcryptHasher
) -> None:
    """A new ledger that only this machine reaches begins with a known administrator; where others
    come in, nobody with that password may be one.

    Raises SettingsError, psycopg.Error.
    """
    timeout_s = settings.database_timeout_s
    if not settings.is_for_this_machine:
        found = await possible_administrators(service_url, connect_timeout_s=timeout_s)
        await _refuse_known_password(ledger, hasher, found)
        return
    # In a ledger that has begun, others may be at work whom it would let in.
    if not await is_empty_ledger(service_url, connect_timeout_s=timeout_s):
        return
    await build_users(settings, ledger, hasher).register(
        username=ADMIN_USERNAME,
        email=ADMIN_EMAIL,
        password=DEVELOPMENT_ADMIN_PASSWORD,
        role=UserRole.ADMIN,
    )
    log.warning(
        "development_admin_created",
        username=ADMIN_USERNAME,
        advice="its password is the documented one, so only this machine may reach the service",
    )


async def _refuse_known_password(
    ledger: Ledger, hasher: BcryptHasher, possible: Sequence[UUID]
) -> None:
    async def name_if_known(user_id: UUID) -> str | None:
        user = await ledger.read(lambda transaction: transaction.load(USER, user_id))
        if user is None or user.role is not UserRole.ADMIN:
            return None
        is_known = await hasher.verify(DEVELOPMENT_ADMIN_PASSWORD, user.password_hash)
        return user.username if is_known else None

    found = [name for user_id in possible if (name := await name_if_known(user_id))]
    if found:
        commands = ", ".join(f"`chatledger users set-password {name}`" for name in found)
        raise SettingsError(
            "the development password is still an administrator's, and other machines may reach"
            f" this service; change it with {commands}"
        )
