"""What of an event may leave the service in an export."""

from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec

from domain.events import Event, PersonalMark

# With these, passwords could be tried without this service noticing; no audit needs them.
SECRET_FIELDS = frozenset({"password_hash"})
_HEADER_FIELDS = ("originator_id", "originator_version", "timestamp")


@cache
def personal_fields(event_type: type[Event]) -> frozenset[str]:
    hints = get_type_hints(event_type, include_extras=True)
    return frozenset(name for name, hint in hints.items() if _is_personal(hint))


def _is_personal(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return any(isinstance(mark, PersonalMark) for mark in get_args(hint)[1:])
    return any(_is_personal(part) for part in get_args(hint))


def disclosed(event: Event, *, with_personal: bool) -> dict[str, Any]:
    """The event's own fields as plain JSON values, with None for those that are kept back."""
    hidden = SECRET_FIELDS
    if not with_personal:
        hidden = hidden | personal_fields(type(event))
    fields = {
        name: None if name in hidden else value
        for name, value in vars(event).items()
        if name not in _HEADER_FIELDS
    }
    plain: dict[str, Any] = msgspec.to_builtins(fields)
    return plain
