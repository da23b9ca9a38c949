"""Who sent a request: the browser by its name, and the address it came from."""

from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv6Address, ip_address
from typing import Any

from starlette.types import Scope

_KEY = "chatledger.visitor"
_IPV6_HOST_BITS = 64


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """``browser`` is a name that was given out here and is still in use."""

    browser: str
    address: str

    @cached_property
    def network(self) -> str:
        """What counts as one address where visitors are counted: an IPv6 user has a whole /64."""
        try:
            address = ip_address(self.address.partition("%")[0])
        except ValueError:
            return self.address
        if not isinstance(address, IPv6Address):
            return self.address
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return f"{IPv6Address(int(address) >> _IPV6_HOST_BITS << _IPV6_HOST_BITS)}/64"


def announce(scope: Scope, visitor: Visitor) -> None:
    """Tell everything behind the front door who sent this request."""
    scope[_KEY] = visitor


def visitor_of(request: Any) -> Visitor:
    """The visitor behind a ``gradio.Request``, as the front door announced them."""
    visitor = request.request.scope[_KEY]
    assert isinstance(visitor, Visitor)
    return visitor
