"""Builds what knows who is asking: users, tokens, and development's administrator."""

from datetime import timedelta

import structlog

from application.event_macs import StreamDamaged
from application.ledger import Ledger
from application.users import UserPolicy, Users
from domain.users.events import UserRole
from infrastructure.identity import BcryptHasher, SystemClock, TimeOrderedIds
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


async def ensure_admin(settings: Settings, users: Users) -> None:
    """Development starts with a known administrator; production refuses one with that password.

    Raises SettingsError.
    """
    try:
        admin = await users.find(ADMIN_USERNAME)
    except StreamDamaged as error:
        # Nobody can sign in as an administrator whose stream is not believed.
        log.error("administrator_not_checked", reason=str(error))
        return
    if settings.is_production:
        if admin is not None and await users.has_password(admin, DEVELOPMENT_ADMIN_PASSWORD):
            raise SettingsError(
                "the administrator still has the development password; change it with"
                " `chatledger users set-password admin` before production"
            )
        return
    if admin is None:
        await users.register(
            username=ADMIN_USERNAME,
            email=ADMIN_EMAIL,
            password=DEVELOPMENT_ADMIN_PASSWORD,
            role=UserRole.ADMIN,
        )
        log.warning(
            "development_admin_created",
            username=ADMIN_USERNAME,
            advice="its password is the documented one; change it before anybody else can sign in",
        )
