"""Rules for what people type."""

import re
import unicodedata

from domain.errors import InvalidEmail, InvalidText, InvalidUsername, WeakPassword

MESSAGE_CHARACTERS_MAX = 32_000
TITLE_CHARACTERS_MAX = 120
USERNAME_PATTERN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{1,30})[A-Za-z0-9]")
# Deliverability is proved by a mail; the pattern only catches slips (RFC 5321 bounds length).
EMAIL_PATTERN = re.compile(
    r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s.\x00-\x1f\x7f]+(?:\.[^@\s.\x00-\x1f\x7f]+)+"
)
EMAIL_CHARACTERS_MAX = 254
PASSWORD_CHARACTERS_MIN = 8
# bcrypt reads 72 bytes and no more; a longer password would be cut in silence.
PASSWORD_BYTES_MAX = 72


def check_text(text: str, *, field: str, characters_max: int, lines: bool = False) -> str:
    """The text, stripped. Raises InvalidText when nothing is left, when it is too long, or when
    it holds control characters (tabs and line breaks pass where `lines`) or lone surrogates."""
    for character in text:
        if "\ud800" <= character <= "\udfff":
            raise _invalid(
                field, "holds a lone surrogate, which is no character; send valid Unicode"
            )
        if unicodedata.category(character) == "Cc" and not (lines and character in "\t\n\r"):
            raise _invalid(field, f"holds the control character U+{ord(character):04X}; remove it")
    stripped = text.strip()
    if not stripped:
        raise _invalid(field, "is empty; write something")
    if len(stripped) > characters_max:
        raise _invalid(
            field, f"has {len(stripped)} characters; at most {characters_max} are allowed"
        )
    return stripped


def check_username(username: str) -> str:
    if not USERNAME_PATTERN.fullmatch(username):
        raise InvalidUsername(
            "a username has 3 to 32 letters, digits, dots, dashes or underscores, and starts and"
            " ends with a letter or digit"
        )
    return username


def check_email(email: str) -> str:
    if (
        len(email) > EMAIL_CHARACTERS_MAX
        or not EMAIL_PATTERN.fullmatch(email)
        or any("\ud800" <= character <= "\udfff" for character in email)
    ):
        raise InvalidEmail("this is not an e-mail address; it should look like name@example.com")
    return email


def check_password(password: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in password) or "\x00" in password:
        raise WeakPassword("the password holds a character that is not allowed; choose another")
    if len(password) < PASSWORD_CHARACTERS_MIN:
        raise WeakPassword(f"a password has at least {PASSWORD_CHARACTERS_MIN} characters")
    if len(password.encode()) > PASSWORD_BYTES_MAX:
        raise WeakPassword(f"a password has at most {PASSWORD_BYTES_MAX} bytes (UTF-8)")
    return password


def _invalid(field: str, says: str) -> InvalidText:
    refusal = InvalidText(f"{field} {says}")
    refusal.field = field
    return refusal
