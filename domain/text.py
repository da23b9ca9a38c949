"""Rules for what people type."""

import re
import unicodedata

from domain.errors import InvalidEmail, InvalidText, InvalidUsername, WeakPassword

MESSAGE_CHARACTERS_MAX = 32_000
TITLE_CHARACTERS_MAX = 120
REASON_CHARACTERS_MAX = 200
USERNAME_PATTERN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{1,30})[A-Za-z0-9]")
# Only a mail shows whether an address works. The pattern catches slips (RFC 5321 bounds the
# length) and characters that would mean something else in a mail header (the specials of RFC 5322).
_NOT_IN_EMAIL = r'@\s\x00-\x1f\x7f-\x9f\ud800-\udfff()<>\[\],;:\\"'
EMAIL_PATTERN = re.compile(
    rf"[^{_NOT_IN_EMAIL}]{{1,64}}@[^.{_NOT_IN_EMAIL}]+(?:\.[^.{_NOT_IN_EMAIL}]+)+"
)
EMAIL_CHARACTERS_MAX = 254
PASSWORD_CHARACTERS_MIN = 8
# bcrypt reads 72 bytes and no more; a longer password would be cut in silence.
PASSWORD_BYTES_MAX = 72


# Unicode's categories Cs and Cc, and the two line breaks that are not in Cc.
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# A byte order mark is left by editors and shells, and nobody can see it.
_NOT_IN_PASSWORD = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
_CONTROL_BUT_LINES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# Format characters (zero-width ones, byte order marks) and separators print nothing; nor do the
# others that Unicode lets be ignored (Default_Ignorable_Code_Point), and the empty Braille pattern.
_INVISIBLE_CATEGORIES = ("Cf", "Cc", "Zs", "Zl", "Zp")
_INVISIBLE = re.compile(
    r"[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\ufe00-\ufe0f\uffa0"
    r"\ufff0-\ufff8\U000e0000-\U000e0fff]"
)


def check_text(text: str, *, field: str, characters_max: int, lines: bool = False) -> str:
    """The text, stripped. Raises InvalidText when nothing visible is left, when it is too long,
    or when it holds lone surrogates or control characters (tabs and line breaks pass where
    `lines`)."""
    stripped = text.strip()
    if not stripped:
        raise _invalid(field, "is empty; write something")
    # Before anything that looks at every character, so that a huge text costs nothing.
    if len(stripped) > characters_max:
        raise _invalid(
            field, f"has {len(stripped)} characters; at most {characters_max} are allowed"
        )
    if _SURROGATE.search(stripped):
        raise _invalid(field, "holds a lone surrogate, which is no character; send valid Unicode")
    if found := (_CONTROL_BUT_LINES if lines else _CONTROL).search(stripped):
        raise _invalid(field, f"holds the control character U+{ord(found[0]):04X}; remove it")
    if not is_visible(stripped):
        raise _invalid(field, "is empty; write something")
    return stripped


def check_reason(reason: str) -> str:
    """Why an administrator does something, on one line. Raises InvalidText."""
    return check_text(reason, field="reason", characters_max=REASON_CHARACTERS_MAX)


def is_visible(text: str) -> bool:
    """Whether there is anything that a person can read."""
    return any(
        unicodedata.category(character) not in _INVISIBLE_CATEGORIES
        and not _INVISIBLE.match(character)
        for character in text
    )


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
        or any(unicodedata.category(character) == "Cf" for character in email)
    ):
        raise InvalidEmail("this is not an e-mail address; it should look like name@example.com")
    return email


def check_password(password: str) -> str:
    """The password in the form that is hashed, NFC: keyboards write one accent in several ways.
    Whether it is easily guessed is not asked here. Raises WeakPassword."""
    if _SURROGATE.search(password):
        raise WeakPassword("the password holds a character that is not allowed; choose another")
    if found := _NOT_IN_PASSWORD.search(password):
        raise WeakPassword(
            f"the password holds the control character U+{ord(found[0]):04X}; remove it"
        )
    composed = compose(password)
    if len(composed) < PASSWORD_CHARACTERS_MIN:
        raise WeakPassword(f"a password has at least {PASSWORD_CHARACTERS_MIN} characters")
    if len(composed.encode()) > PASSWORD_BYTES_MAX:
        raise WeakPassword(f"a password has at most {PASSWORD_BYTES_MAX} bytes (UTF-8)")
    return composed


def password_forms(password: str) -> tuple[str, ...]:
    """What is compared with a hash, in this order: the form that is hashed now, and the password
    as it was typed where that differs, because older hashes were made of it."""
    composed = compose(password)
    return (composed,) if composed == password else (composed, password)


def compose(text: str) -> str:
    """Unicode's canonical composition, NFC: one spelling for what looks the same."""
    return unicodedata.normalize("NFC", text)


def _invalid(field: str, says: str) -> InvalidText:
    refusal = InvalidText(f"{field} {says}")
    refusal.field = field
    return refusal
