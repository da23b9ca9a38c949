"""JSON in which no number is ever a float."""

from decimal import Decimal
from uuid import UUID

import pytest

from interfaces.exact_json import NotJson, read_json, write_json


def test_an_amount_is_written_in_its_own_digits() -> None:
    assert write_json({"cost": Decimal("0.000001")}) == b'{"cost":0.000001}'
    assert write_json([Decimal(10), Decimal("9007199254740993.000001"), None]) == (
        b"[10,9007199254740993.000001,null]"
    )


def test_a_text_is_written_as_it_is() -> None:
    assert write_json({"note": 'a "quoted" é'}) == '{"note":"a \\"quoted\\" é"}'.encode()
    assert write_json(UUID(int=1)) == b'"00000000-0000-0000-0000-000000000001"'


def test_a_number_is_read_from_its_own_digits() -> None:
    assert read_json(b"[9007199254740993.000001, 1e-6, 3]") == [
        Decimal("9007199254740993.000001"),
        Decimal("0.000001"),
        3,
    ]


def test_what_was_written_is_read_again() -> None:
    value = {"amounts": [Decimal("0.1"), Decimal("-12.5")], "deep": {"n": None, "text": "é\u2028"}}
    assert read_json(write_json(value)) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "is not valid JSON: Expecting value at line 1, column 1"),
        (b'{"a":\n  1,}', "is not valid JSON: .* at line 2"),
        (b"\xff", "is not UTF-8"),
        (b"[" * 100_000, "is nested too deeply"),
        (b"NaN", "NaN is not a JSON number"),
        (b"-Infinity", "-Infinity is not a JSON number"),
        (b"1e999999999", "the number 1e999999999 has too many digits or too large an exponent"),
        (b"1e-401", "the number 1e-401 has too many digits"),
        (b"0." + b"1" * 400, "the number 0.111111111111111111… has too many digits"),
        (b"9" * 5000, "is not valid JSON"),
        (rb'["\ud800"]', "holds a lone surrogate"),
        (rb'{"\udfff": 1}', "holds a lone surrogate"),
    ],
)
def test_what_cannot_be_read_says_what_is_wrong(text: bytes, reason: str) -> None:
    with pytest.raises(NotJson, match=reason):
        read_json(text)
