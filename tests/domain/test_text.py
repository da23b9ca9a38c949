"""What people may type."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidEmail, InvalidText, InvalidUsername, WeakPassword
from domain.text import (
    EMAIL_CHARACTERS_MAX,
    MESSAGE_CHARACTERS_MAX,
    PASSWORD_BYTES_MAX,
    check_email,
    check_password,
    check_text,
    check_username,
    password_forms,
)


def message(text: str) -> str:
    return check_text(text, field="message", characters_max=MESSAGE_CHARACTERS_MAX, lines=True)


def title(text: str) -> str:
    return check_text(text, field="title", characters_max=120)


@pytest.mark.parametrize(
    "text",
    [
        "Hello",
        "two\nlines\tand a tab\r\n",
        "שלום, مرحبا, 你好",
        "👩‍👩‍👧 a family joined by U+200D",
        "right-to-left mark \u200f and override \u202e are text",
        "\u2028 a line separator between words",
    ],
)
def test_a_message_may_hold_any_text_of_any_language(text: str) -> None:
    assert message(text) == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\t\r\n",
        "\u00a0\u3000",
        "\u2028\u2029",
        "\u200b\u200d",
        "\ufeff \u2060",
        "\u034f\ufff0\U000e0020",
    ],
)
def test_a_text_with_nothing_to_see_is_empty(text: str) -> None:
    with pytest.raises(InvalidText, match="message is empty; write something") as refusal:
        message(text)
    assert refusal.value.field == "message"


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x1b", "\x7f", "\x80", "\x85", "\x9f"])
def test_a_control_character_is_named_and_refused(character: str) -> None:
    with pytest.raises(InvalidText, match=rf"U\+{ord(character):04X}; remove it"):
        message(f"before{character}after")


@pytest.mark.parametrize("code_point", [0xD800, 0xDBFF, 0xDC00, 0xDFFF])
def test_a_lone_surrogate_is_refused(code_point: int) -> None:
    with pytest.raises(InvalidText, match="lone surrogate"):
        message(f"before{chr(code_point)}after")


@pytest.mark.parametrize("separator", ["\n", "\r", "\t", "\x0b", "\x0c", "\u2028", "\u2029"])
def test_a_field_of_one_line_takes_no_line_breaks(separator: str) -> None:
    with pytest.raises(InvalidText, match=rf"U\+{ord(separator):04X}; remove it"):
        title(f"one{separator}two")


def test_white_space_around_a_text_is_dropped() -> None:
    assert title("  A title \n") == "A title"


def test_a_text_of_the_greatest_length_passes_and_one_character_more_does_not() -> None:
    longest = "é" * MESSAGE_CHARACTERS_MAX
    assert message(f" {longest} ") == longest
    with pytest.raises(InvalidText, match="has 32001 characters; at most 32000 are allowed"):
        message(longest + "é")


@given(st.text(st.characters(), max_size=40))
def test_what_passes_can_be_stored_and_passes_again(text: str) -> None:
    try:
        checked = message(text)
    except InvalidText:
        return
    assert checked.encode()
    assert "\x00" not in checked
    assert message(checked) == checked


@pytest.mark.parametrize("username", ["ada", "Ada.Lovelace", "a-1_b", "x" * 32, "007"])
def test_a_username_of_letters_digits_and_inner_marks_passes(username: str) -> None:
    assert check_username(username) == username


@pytest.mark.parametrize(
    "username",
    [
        "",
        "ab",
        "x" * 33,
        ".ada",
        "ada-",
        "a da",
        "ada\n",
        "adá",
        "а" * 5,
        "ada@x",
        "a\x00b",
        "\ud800ab",
    ],
)
def test_any_other_username_is_refused(username: str) -> None:
    with pytest.raises(InvalidUsername, match="3 to 32 letters"):
        check_username(username)


@pytest.mark.parametrize(
    "email",
    [
        "ada@example.com",
        "ada+chat@mail.example.co.uk",
        "o'neill@example.org",
        "ünïcode@bücher.example",
        "a" * 64 + "@example.com",
    ],
)
def test_an_e_mail_address_passes(email: str) -> None:
    assert check_email(email) == email


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "ada@example",
        "ada@.com",
        "ada@example.",
        "ada@example..com",
        "a@b@example.com",
        "a da@example.com",
        "ada@exam ple.com",
        "ada@example.com\n",
        "ada\x00@example.com",
        "ada\x9b@example.com",
        "ada\u200b@example.com",
        "ada@exam\u202eple.com",
        "ada\ud800@example.com",
        # Characters with a meaning in a mail header would name a second recipient.
        "ada,eve@example.com",
        "Ada<ada@example.com",
        "ada@example.com>",
        'a"b@example.com',
        "a" * 65 + "@example.com",
        "ada@" + "x" * EMAIL_CHARACTERS_MAX + ".com",
    ],
)
def test_what_is_no_e_mail_address_is_refused(email: str) -> None:
    with pytest.raises(InvalidEmail, match=r"should look like name@example\.com"):
        check_email(email)


@pytest.mark.parametrize(
    "password", ["Admin123!", "eight ch", "x" * PASSWORD_BYTES_MAX, "пароль12"]
)
def test_a_password_of_eight_characters_and_at_most_72_bytes_passes(password: str) -> None:
    assert check_password(password) == password


@pytest.mark.parametrize(
    ("password", "says"),
    [
        ("", "at least 8 characters"),
        ("seven77", "at least 8 characters"),
        ("x" * 73, "at most 72 bytes"),
        ("я" * 37, "at most 72 bytes"),
        ("nul\x00inside", r"control character U\+0000"),
        ("ends with\r", r"control character U\+000D"),
        ("tab\tinside", r"control character U\+0009"),
        ("delete\x7finside", r"control character U\+007F"),
        ("c1 \x85 inside", r"control character U\+0085"),
        ("a line\u2028further", r"control character U\+2028"),
        ("\ufeffbyte order mark", r"control character U\+FEFF"),
        ("e\u0301" * 7, "at least 8 characters"),
        ("surrogate\udc80", "a character that is not allowed"),
    ],
)
def test_any_other_password_is_refused_and_not_repeated(password: str, says: str) -> None:
    with pytest.raises(WeakPassword, match=says) as refusal:
        check_password(password)
    assert not password or password not in str(refusal.value)


def test_a_password_is_hashed_in_one_spelling() -> None:
    assert check_password("cafe\u0301 au lait") == "café au lait"


def test_the_bytes_of_a_password_are_counted_as_it_is_hashed() -> None:
    assert check_password("e\u0301" * 36) == "é" * 36


def test_a_password_is_compared_as_it_is_hashed_and_then_as_it_was_typed() -> None:
    assert password_forms("plain") == ("plain",)
    assert password_forms("cafe\u0301") == ("café", "cafe\u0301")
