"""Lists in pages: each answer names the cursor of the page after it."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Generic, TypeVar

from domain.errors import InvalidInput
from interfaces.http.fields import WireModel

T = TypeVar("T")

_CURSOR_CHARACTERS_MAX = 32


class InvalidCursor(InvalidInput):
    code = "invalid_cursor"
    field = "cursor"


class WirePage(WireModel, Generic[T]):
    """next_cursor: None on the last page."""

    items: list[T]
    next_cursor: str | None


def encode_cursor(before: int | None) -> str | None:
    """before: the position that the next page ends before; None when there is no next page."""
    if before is None:
        return None
    return urlsafe_b64encode(str(before).encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> int | None:
    """Raises InvalidCursor."""
    if cursor is None:
        return None
    try:
        assert len(cursor) <= _CURSOR_CHARACTERS_MAX
        before = int(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii"))
        assert 0 <= before < 2**63
    except (ValueError, AssertionError):
        raise InvalidCursor("use the next_cursor of an earlier page as it is") from None
    return before
