"""The address of a client, in one spelling, and what counts as one address."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

# One site has so many IPv6 addresses to itself (RFC 6177), so they count as one.
_IPV6_SITE_BITS = 64
# Of clients that come again and again; reading an address costs more than all else here.
_KEPT = 4096
# The longest that is one, with the name of an interface. A proxy may pass on anything.
_CHARACTERS_MAX = 64
# Whatever is no address counts as one, so that nobody has as many as they can make up.
UNKNOWN = "unknown"


def plain_address(address: str) -> str:
    """Without an interface's name, and an IPv4 address as one, also where IPv6 carries it."""
    parsed = _parsed(address)
    return UNKNOWN if parsed is None else str(parsed)


def site_of(address: str) -> str:
    """What counts as one address."""
    return UNKNOWN if len(address) > _CHARACTERS_MAX else _site_of(address)


@lru_cache(_KEPT)
def _site_of(address: str) -> str:
    parsed = _parsed(address)
    if parsed is None:
        return UNKNOWN
    if isinstance(parsed, IPv6Address) and not parsed.is_loopback:
        return str(IPv6Network((int(parsed), _IPV6_SITE_BITS), strict=False))
    return str(parsed)


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    if len(address) > _CHARACTERS_MAX:
        return None
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    carried = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return carried or parsed
