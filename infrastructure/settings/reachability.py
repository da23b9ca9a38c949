"""Who can reach an address, and what would go over a network without encryption."""

import socket
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

_ENCRYPTING_SSLMODES = frozenset({"require", "verify-ca", "verify-full"})
_NATS_SCHEMES = frozenset({"nats", "tls", "ws", "wss"})
_NATS_SCHEMES_WITH_TLS = frozenset({"tls", "wss"})


class BadAddress(ValueError):
    """What is wrong with it, in words that follow the setting's name."""


def is_loopback_alone(host: str) -> bool:
    """Whether a server that binds this is for this machine alone. Empty: every address.

    Raises BadAddress.
    """
    try:
        found = socket.getaddrinfo(
            host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise BadAddress(f"{host} is no address of this machine ({_reason(error)})") from None
    return all(_is_loopback(str(address[0])) for *_, address in found)


def is_local(host: str) -> bool:
    """Whether what is sent to this host stays on this machine; told without a name server."""
    return host.lower().rstrip(".") == "localhost" or _is_loopback(host)


def _is_loopback(address: str) -> bool:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped.is_loopback
    return parsed.is_loopback


def check_http_url(url: str, own_host: str) -> bool:
    """Whether it is safe from being read on the way: local, this machine's own address, or
    through TLS. Raises BadAddress."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise BadAddress(f"is no address ({error})") from None
    if parts.scheme not in ("http", "https") or not host:
        raise BadAddress("must be an address such as https://api.example.com")
    return parts.scheme == "https" or is_local(host) or host == own_host.lower()


def check_nats_url(url: str) -> bool:
    """Whether every server of the list is local, or reached through TLS. Raises BadAddress."""
    is_safe = True
    for server in (part.strip() for part in url.split(",")):
        try:
            parts = urlsplit(server if "://" in server else f"nats://{server}")
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise BadAddress(f"is no address of a NATS server ({error})") from None
        if parts.scheme not in _NATS_SCHEMES or not host:
            raise BadAddress("must be an address such as tls://nats.example.com:4222")
        is_safe = is_safe and (parts.scheme in _NATS_SCHEMES_WITH_TLS or is_local(host))
    return is_safe


def check_database_url(url: str) -> bool:
    """Whether every host of it is local, or reached through TLS, as libpq will understand it
    together with its environment variables. Raises BadAddress."""
    options = _database_options(url)
    if options.get("sslmode") in _ENCRYPTING_SSLMODES or options.get("gssencmode") == "require":
        return True
    return all(
        not host or host.startswith(("/", "@")) or is_local(host)
        for host in _database_hosts(options)
    )


def database_user(url: str) -> str:
    """Raises BadAddress."""
    return _database_options(url).get("user", "")


def _database_options(url: str) -> dict[str, str]:
    try:
        given = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except (psycopg.Error, UnicodeError):
        # What libpq says about it quotes it, with its password.
        raise BadAddress(
            "must be an address such as postgresql://user:password@db.example.com/chatledger"
        ) from None
    if "service" in given:
        raise BadAddress("names a service file, which may say anything; write host and sslmode out")
    known = {
        option.keyword.decode(): option.val.decode(errors="replace")
        for option in Conninfo.get_defaults()
        if option.val is not None
    }
    return known | given


def _database_hosts(options: dict[str, str]) -> Iterator[str]:
    """Where libpq connects to: a numeric address goes before the name beside it."""
    names = options.get("host", "").split(",")
    addresses = options.get("hostaddr", "").split(",")
    for number in range(max(len(names), len(addresses))):
        address = addresses[number] if number < len(addresses) else ""
        yield address or (names[number] if number < len(names) else "")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
