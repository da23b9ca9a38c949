"""Checks of the settings before anything is started. Each problem is a sentence with the setting's
name and what to do; all problems are reported at once."""

from collections.abc import Callable, Iterator
from functools import partial

from pydantic import SecretStr

from infrastructure.secrets.strength import SECRET_BITS_MIN, secret_bits
from infrastructure.settings.reachability import (
    BadAddress,
    check_database_url,
    check_http_url,
    check_nats_url,
    database_user,
    is_loopback_alone,
)
from infrastructure.settings.service import Settings, SettingsError

SECRET_CHARACTERS_MIN = 32
BCRYPT_ROUNDS_MIN = 10  # OWASP, Password Storage Cheat Sheet
_DRAW = 'draw one: python3 -c "import secrets; print(secrets.token_urlsafe(48))"'
_ALLOWED_PLAIN = "ALLOW_PLAIN_TEXT_NETWORK=true where the network itself encrypts"


def check_start(settings: Settings, *, api: bool, page: bool) -> None:
    """For a process that is about to serve. Raises SettingsError with every problem."""
    problems = [*_exposure_problems(settings), *_page_problems(settings)]
    if api:
        problems += _service_problems(settings)
    if api and page:
        problems += _port_problems(settings)
    _refuse(problems)


def check_service(settings: Settings) -> None:
    """For a process that is about to open database and NATS. Raises SettingsError with every
    problem."""
    _refuse([*_page_problems(settings), *_service_problems(settings)])


def _refuse(problems: list[str]) -> None:
    if problems:
        raise SettingsError("; ".join(problems))


def _page_problems(settings: Settings) -> Iterator[str]:
    """With what the chat page needs."""
    if settings.is_production:
        yield from _secret_problems("SECRET_KEY", settings.secret_key)
    if settings.api_url:
        is_safe = partial(check_http_url, own_host=settings.host)
        yield from _address_problems(settings, "API_URL", settings.api_url, is_safe, "use https://")


def _service_problems(settings: Settings) -> Iterator[str]:
    """With what everything else needs."""
    database, nats = (
        setting.get_secret_value() for setting in (settings.database_url, settings.nats_url)
    )
    owner = settings.migration_database_url.get_secret_value()
    nats_read = settings.nats_read_url.get_secret_value()
    if settings.is_production:
        for name, value in (("DATABASE_URL", database), ("NATS_URL", nats)):
            if not value:
                yield (
                    f"ENVIRONMENT=production needs {name}; the embedded servers are for development"
                )
        yield from _secret_problems("JWT_SECRET_KEY", settings.jwt_secret_key)
        jwt_secret = settings.jwt_secret_key.get_secret_value()
        if jwt_secret and jwt_secret == settings.secret_key.get_secret_value():
            yield (
                f"JWT_SECRET_KEY is the same as SECRET_KEY, and each signs something else; {_DRAW}"
            )
        if settings.bcrypt_rounds < BCRYPT_ROUNDS_MIN:
            yield (
                f"BCRYPT_ROUNDS={settings.bcrypt_rounds} makes stolen password hashes cheap to"
                f" guess; ENVIRONMENT=production needs {BCRYPT_ROUNDS_MIN} or more"
            )
    elif bool(database) != bool(nats):
        yield "set both DATABASE_URL and NATS_URL, or neither for embedded servers"
    for name, value, check, remedy in (
        ("DATABASE_URL", database, check_database_url, "add sslmode=verify-full"),
        ("MIGRATION_DATABASE_URL", owner, check_database_url, "add sslmode=verify-full"),
        ("NATS_URL", nats, check_nats_url, "use tls://"),
        ("NATS_READ_URL", nats_read, check_nats_url, "use tls://"),
    ):
        if value:
            yield from _address_problems(settings, name, value, check, remedy)
    if settings.is_production and database and owner:
        yield from _role_problems(database, owner)


def _exposure_problems(settings: Settings) -> Iterator[str]:
    """Of letting other machines in."""
    try:
        is_for_this_machine = is_loopback_alone(settings.host)
    except BadAddress as error:
        yield f"{error}; set HOST to one, such as 127.0.0.1, or 0.0.0.0 for all"
        return
    if settings.is_production or settings.unsafe_development_on_network:
        return
    remedy = (
        "or set ENVIRONMENT=production, or UNSAFE_DEVELOPMENT_ON_NETWORK=true, which gives credits"
        " to anybody who comes"
    )
    if not is_for_this_machine:
        yield (
            f"HOST={settings.host or '(empty)'} lets other machines in, and"
            f" ENVIRONMENT={settings.environment} is for this one alone: set HOST to 127.0.0.1,"
            f" {remedy}"
        )
    if settings.trusted_proxies:
        yield (
            "TRUSTED_PROXIES is for a service that others reach, and"
            f" ENVIRONMENT={settings.environment} is for this machine alone: leave it empty,"
            f" {remedy}"
        )


def _port_problems(settings: Settings) -> Iterator[str]:
    """Of API and page in one start."""
    if settings.port == settings.ui_port != 0:
        yield (
            f"PORT and UI_PORT are both {settings.port}; set one of them to another port"
            " (--port, --ui-port)"
        )
    if settings.port == 0 and not settings.api_url:
        yield "PORT=0 is a port that the chat page cannot find; set PORT to a number (--port)"


def _secret_problems(name: str, setting: SecretStr) -> Iterator[str]:
    secret = setting.get_secret_value()
    if len(secret) < SECRET_CHARACTERS_MIN:
        yield (
            f"ENVIRONMENT=production needs {name} with at least {SECRET_CHARACTERS_MIN}"
            f" characters; {_DRAW}"
        )
    elif secret_bits(secret) < SECRET_BITS_MIN:
        yield f"{name} looks chosen, not drawn, and could be guessed; {_DRAW}"


def _address_problems(
    settings: Settings, name: str, value: str, is_safe: Callable[[str], bool], remedy: str
) -> Iterator[str]:
    try:
        safe = is_safe(value)
    except BadAddress as error:
        yield f"{name} {error}"
        return
    if settings.is_production and not safe and not settings.allow_plain_text_network:
        yield f"{name} goes over a network without TLS; {remedy}, or set {_ALLOWED_PLAIN}"


def _role_problems(database: str, owner: str) -> Iterator[str]:
    try:
        is_owner = database_user(database) == database_user(owner)
    except BadAddress:
        return
    if is_owner:
        yield (
            "DATABASE_URL and MIGRATION_DATABASE_URL name the same role, which could change the"
            " log; give the service a role of its own in DATABASE_URL"
        )
