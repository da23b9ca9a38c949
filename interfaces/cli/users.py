"""`chatledger users create-admin|set-password`: for the operator, who owns the database."""

import argparse
import asyncio
import getpass
import sys

from domain.errors import UserNotFound
from domain.users.events import UserRole
from infrastructure.identity import BcryptHasher
from infrastructure.settings import Settings
from interfaces.cli.options import settings_from
from interfaces.endpoints import Endpoints, migrate_schema, open_endpoints, open_ledger
from interfaces.identity_composition import build_users
from interfaces.ledger_keys import ledger_keys


def users(options: argparse.Namespace) -> int:
    settings = settings_from(options)
    password = _read_password()
    with open_endpoints(settings, lambda _: None, may_join=True) as endpoints:
        migrate_schema(settings, endpoints)
        return asyncio.run(_carry_out(options, settings, endpoints, password))


def _read_password() -> str:
    """Never an argument: arguments are seen by everybody who lists processes."""
    if sys.stdin.isatty():
        return getpass.getpass("New password: ")
    return sys.stdin.readline().rstrip("\n")


async def _carry_out(
    options: argparse.Namespace, settings: Settings, endpoints: Endpoints, password: str
) -> int:
    ledger = open_ledger(settings, endpoints, ledger_keys(settings, endpoints))
    hasher = BcryptHasher(settings.bcrypt_rounds)
    try:
        handlers = build_users(settings, ledger, hasher)
        if options.action == "create-admin":
            await handlers.register(
                username=options.username,
                email=options.email,
                password=password,
                role=UserRole.ADMIN,
            )
            print(f"{options.username} is an administrator")
            return 0
        user = await handlers.find(options.username)
        if user is None:
            raise UserNotFound(f"there is no user {options.username!r}")
        await handlers.set_password(user, password)
        print(f"{options.username} has a new password")
        return 0
    finally:
        hasher.close()
        ledger.close()
