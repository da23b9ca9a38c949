"""The address of a client, in one spelling, and what counts as one address."""

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network, ip_address

# One site has so many IPv6 addresses to itself (RFC 6177), so they count as one.
_IPV6_SITE_BITS = 64
# Of clients that come again and again; reading an address costs more than all else here.
_KEPT = 4096


@lru_cache(_KEPT)
def plain_address(address: str) -> str:
    """Without an interface's name, and an IPv4 address as one, also where IPv6 carries it."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(parsed)


@lru_cache(_KEPT)
def site_of(address: str) -> str:
    """What counts as one address."""
    try:
        parsed = ip_address(plain_address(address))
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and not parsed.is_loopback:
        return str(IPv6Network((parsed, _IPV6_SITE_BITS), strict=False))
    return str(parsed)
