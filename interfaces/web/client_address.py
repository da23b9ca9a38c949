"""The address of a client, in one spelling, and what counts as one address."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

# A site has a whole network of 64 bits to itself (RFC 6177), so its IPv6 addresses count as one.
_IPV6_SITE_BITS = 64
# Addresses whose site is remembered: parsing one costs more than everything else here.
_KEPT = 4096
# The longest text that can be an address, with the name of an interface. A proxy may pass on
# anything.
_CHARACTERS_MAX = 64
# Every text that is no address counts as this one, so that nobody gains by making texts up.
UNKNOWN = "unknown"


def plain_address(address: str) -> str:
    """The address without an interface's name; an IPv4 address in IPv6 form becomes plain IPv4."""
    parsed = _parsed(address)
    return UNKNOWN if parsed is None else str(parsed)


def site_of(address: str) -> str:
    """What limits count as one client: an IPv4 address, or a site's IPv6 network."""
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
