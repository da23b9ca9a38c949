"""Who sent a request: the browser by its name, and the address it came from."""

from dataclasses import dataclass
from typing import Any

from starlette.types import Scope

from interfaces.web.client_address import site_of

_KEY = "chatledger.visitor"


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """``browser`` is a name that was given out here and is still in use."""

    browser: str
    address: str

    @property
    def network(self) -> str:
        """What counts as one address where visitors are counted."""
        return site_of(self.address)


def announce(scope: Scope, visitor: Visitor) -> None:
    """Tell everything behind the front door who sent this request."""
    scope[_KEY] = visitor


def visitor_of(request: Any) -> Visitor:
    """The visitor behind a ``gradio.Request``, as the front door announced them."""
    visitor = request.request.scope[_KEY]
    assert isinstance(visitor, Visitor)
    return visitor
