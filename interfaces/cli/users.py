"""`chatledger users create-admin|set-password`: for the operator, who owns the database."""

import argparse
import asyncio
import getpass
import sys
from contextlib import closing

from application.users.users import Users
from domain.errors import Conflict, UserNotFound, WeakPassword
from domain.users.events import UserRole
from domain.users.state import UserState
from infrastructure.settings.service import Settings
from interfaces.cli.options import settings_from
from interfaces.composition.endpoints import Endpoints, migrate_schema, open_endpoints, open_ledger
from interfaces.composition.identity import open_users
from interfaces.composition.ledger_keys import ledger_keys


class PasswordNotSet(Conflict):
    code = "password_not_set"


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
    return password_line(sys.stdin.buffer.readline())


def password_line(line: bytes) -> str:
    """The line without what editors and shells add to it: an end of line, of whatever system, and a
    byte order mark at the beginning. Raises WeakPassword."""
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise WeakPassword("the password is not UTF-8; send it in that encoding") from None
    return text.removesuffix("\n").removesuffix("\r")


async def _carry_out(
    options: argparse.Namespace, settings: Settings, endpoints: Endpoints, password: str
) -> int:
    with (
        closing(open_ledger(settings, endpoints, ledger_keys(settings, endpoints))) as ledger,
        open_users(settings, ledger) as handlers,
    ):
        if options.action == "create-admin":
            await handlers.register(
                username=options.username,
                email=options.email,
                password=password,
                role=UserRole.ADMIN,
            )
            done = "is an administrator"
        else:
            await handlers.set_password(await _user(handlers, options.username), password)
            done = "has a new password"
        if not await handlers.has_password(await _user(handlers, options.username), password):
            raise PasswordNotSet("another command has changed the password meanwhile; try again")
        print(f"{options.username} {done}")
        return 0


async def _user(handlers: Users, username: str) -> UserState:
    user = await handlers.find(username)
    if user is None:
        raise UserNotFound(f"there is no user {username!r}")
    return user
