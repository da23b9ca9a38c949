"""The part of the composition root that builds what tells who is asking: users, tokens, limits on
guesses; and the administrator that development begins with."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, closing, contextmanager
from datetime import timedelta
from uuid import UUID

import structlog

from application.ledger.event_macs import StreamDamaged
from application.ledger.ledger import Ledger
from application.ledger.streams import USER
from application.users.passwords import Passwords
from application.users.users import UserPolicy, Users
from domain.users.events import UserRole
from infrastructure.identity.administrators import is_empty_ledger, possible_administrators
from infrastructure.identity.password_queue import PasswordLimits, PasswordQueue
from infrastructure.identity.passwords import BcryptHasher, ZxcvbnStrength
from infrastructure.identity.tokens import Tokens
from infrastructure.process.clock_ids import SystemClock, TimeOrderedIds
from infrastructure.secrets.files import secret_from
from infrastructure.settings.service import DEVELOPMENT_ADMIN_PASSWORD, Settings, SettingsError
from interfaces.http.caller import CallerAddresses
from interfaces.http.limits.sign_in_guard import GuardLimits, SignInGuard
from interfaces.web.visitor_address import visitor_key

log = structlog.get_logger()

ADMIN_USERNAME = "admin"
ADMIN_EMAIL = "admin@example.com"


@contextmanager
def open_users(settings: Settings, ledger: Ledger) -> Iterator[Users]:
    """Users, with the threads that hash and check passwords."""
    limits = PasswordLimits(
        threads=settings.password_threads,
        waiting_max=settings.password_queue_max,
        owner_waiting_max=settings.password_queue_address_max,
        wait_s_max=settings.password_wait_s_max,
        strangers_per_minute=settings.password_hashes_per_minute,
    )
    queue = PasswordQueue(limits)
    with (
        closing(BcryptHasher(settings.bcrypt_rounds, queue)) as hasher,
        closing(ZxcvbnStrength(queue)) as strength,
    ):
        yield _users(settings, ledger, Passwords(hasher, strength))


def _users(settings: Settings, ledger: Ledger, passwords: Passwords) -> Users:
    return Users(
        ledger=ledger,
        clock=SystemClock(),
        ids=TimeOrderedIds(),
        passwords=passwords,
        policy=UserPolicy(
            welcome_micro=settings.welcome_micro,
            session_lifetime=timedelta(days=settings.refresh_expire_days),
            refresh_grace=timedelta(seconds=settings.refresh_grace_s),
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


def build_sign_in_guard(settings: Settings) -> SignInGuard:
    return SignInGuard(
        GuardLimits(
            pair_free=settings.sign_in_failures_max,
            address_free=settings.sign_in_address_failures_max,
            account_free=settings.sign_in_account_failures_max,
            delay_s_max=settings.sign_in_delay_s_max,
            turn_s=settings.sign_in_turn_s,
            forget_s=settings.sign_in_forget_s,
            records_max=settings.sign_in_records_max,
        )
    )


def build_caller_addresses(settings: Settings) -> CallerAddresses:
    """Checks visitors' addresses with the secret that the chat page signs them with."""
    secret = secret_from(settings.secret_key.get_secret_value(), settings.data_dir / "secret_key")
    return CallerAddresses(visitor_key(secret))


async def ensure_admin(settings: Settings, service_url: str, ledger: Ledger, users: Users) -> None:
    """Where only this machine can reach the service, a new ledger begins with an administrator
    whose password is in the documentation. Where others can, no administrator may have that
    password.

    Raises SettingsError, psycopg.Error.
    """
    timeout_s = settings.database_timeout_s
    if not settings.is_for_this_machine:
        possible = possible_administrators(service_url, connect_timeout_s=timeout_s)
        async with aclosing(possible):
            await _refuse_known_password(ledger, users, possible)
        return
    # Not in a ledger with events: others may use it already, and this password would let anybody
    # in.
    if not await is_empty_ledger(service_url, connect_timeout_s=timeout_s):
        return
    await users.register(
        username=ADMIN_USERNAME,
        email=ADMIN_EMAIL,
        password=DEVELOPMENT_ADMIN_PASSWORD,
        role=UserRole.ADMIN,
        seeded=True,
    )
    log.warning(
        "development_admin_created",
        username=ADMIN_USERNAME,
        advice="its password is the documented one, so only this machine may reach the service",
    )


async def _refuse_known_password(
    ledger: Ledger, users: Users, possible: AsyncGenerator[UUID]
) -> None:
    found: list[str] = []
    damaged, first = 0, ""
    async for user_id in possible:
        try:
            user = await ledger.load(USER, user_id)
        except StreamDamaged as error:
            # Nobody can sign in as a user whose stream does not prove itself.
            damaged, first = damaged + 1, first or str(error)
            continue
        if user is None or user.role is not UserRole.ADMIN:
            continue
        if await users.has_password(user, DEVELOPMENT_ADMIN_PASSWORD):
            found.append(user.username)
    if damaged:
        # One line for all of them: whoever can add rows to the log could fill the disk otherwise.
        log.error("administrators_not_checked", count=damaged, first=first)
    if found:
        commands = ", ".join(f"`chatledger users set-password {name}`" for name in found)
        raise SettingsError(
            "the development password is still an administrator's, and other machines may reach"
            f" this service; change it with {commands}"
        )
