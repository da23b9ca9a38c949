"""How amounts of credits are read and written."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.credits import (
    AMOUNT_MICRO_MAX,
    MICRO_PER_CREDIT,
    credits_decimal,
    format_credits,
    parse_credits,
)
from domain.errors import InvalidAmount

amounts_micro = st.integers(min_value=1, max_value=AMOUNT_MICRO_MAX)


@given(amounts_micro)
def test_what_is_written_is_read_back(amount_micro: int) -> None:
    assert parse_credits(format_credits(amount_micro)) == amount_micro


@given(amounts_micro)
def test_every_spelling_of_an_amount_is_the_same_amount(amount_micro: int) -> None:
    amount = credits_decimal(amount_micro)
    assert parse_credits(amount) == amount_micro
    assert parse_credits(f"{amount:.6f}") == amount_micro
    assert parse_credits(f"{amount:E}") == amount_micro
    assert parse_credits(f"  {amount}\n") == amount_micro


@given(st.integers(min_value=-AMOUNT_MICRO_MAX, max_value=AMOUNT_MICRO_MAX))
def test_a_written_amount_is_exact_and_plain(amount_micro: int) -> None:
    written = format_credits(amount_micro)
    assert Decimal(written) * MICRO_PER_CREDIT == amount_micro
    assert "E" not in written
    assert not written.endswith((".", "-0"))
    assert "." not in written or not written.endswith("0")


@given(st.text(max_size=30) | st.decimals() | st.integers())
def test_whatever_is_sent_becomes_an_allowed_amount_or_is_refused(value: object) -> None:
    assert isinstance(value, str | Decimal | int)
    try:
        amount_micro = parse_credits(value)
    except InvalidAmount:
        return
    assert 0 < amount_micro <= AMOUNT_MICRO_MAX
    assert credits_decimal(amount_micro) == Decimal(value)


@pytest.mark.parametrize(
    ("sent", "amount_micro"),
    [
        ("1", 1_000_000),
        ("0.000001", 1),
        ("12.5", 12_500_000),
        ("+5", 5_000_000),
        (".5", 500_000),
        ("5.", 5_000_000),
        ("1e3", 1_000_000_000),
        ("25E-1", 2_500_000),
        (" 7 ", 7_000_000),
        # Zeros at the end do not change the value, however many there are.
        ("1.0000000", 1_000_000),
        (7, 7_000_000),
        (Decimal("0.25"), 250_000),
        ("1000000000", AMOUNT_MICRO_MAX),
    ],
)
def test_an_amount_is_read_as_it_is_meant(sent: str | int | Decimal, amount_micro: int) -> None:
    assert parse_credits(sent) == amount_micro


@pytest.mark.parametrize(
    "sent",
    [
        "",
        " ",
        "ten",
        "1,5",
        "1.2.3",
        "0x10",
        "5\x00",
        "\ud800",
        # Python reads these two as numbers; a person may have meant something else.
        "1_000",
        "٣",
        "１２",
        "NaN",
        "-sNaN1",
        "Infinity",
        "-inf",
        "1e",
        "--1",
        "1 000",
        "1e99999999999999999999",
    ],
)
def test_what_is_no_number_is_refused(sent: str) -> None:
    with pytest.raises(InvalidAmount, match=r"is not a number of credits; write it like 12\.5"):
        parse_credits(sent)


@pytest.mark.parametrize("sent", [Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity")])
def test_a_decimal_that_is_not_finite_is_refused(sent: Decimal) -> None:
    with pytest.raises(InvalidAmount, match="must be a finite number"):
        parse_credits(sent)


@pytest.mark.parametrize("sent", ["0", "-1", "-0.000001", "-0", "0e99", -3, Decimal(0), "-1e9999"])
def test_zero_and_less_are_refused(sent: str | int | Decimal) -> None:
    with pytest.raises(InvalidAmount, match="must be greater than zero"):
        parse_credits(sent)


@pytest.mark.parametrize(
    "sent",
    [
        "0.0000001",
        "1.0000001",
        "999999999.9999999",
        "1e-7",
        "1e-999999999",
        # More digits than the decimal module's default precision, which would round them away.
        "1.0000000000000000000000000000001",
        "0.1000000000000000000000000000000001",
        Decimal("1.0000000000000000000000000000001"),
    ],
)
def test_more_than_six_places_are_refused_and_never_rounded(sent: str | Decimal) -> None:
    with pytest.raises(InvalidAmount, match="at most six decimal places"):
        parse_credits(sent)


@pytest.mark.parametrize(
    "sent",
    ["1000000000.000001", "1000000001", "1e10", "1e19", "1e999999999", 10**19, Decimal("1e500")],
)
def test_an_amount_above_the_maximum_is_refused(sent: str | int | Decimal) -> None:
    with pytest.raises(InvalidAmount, match="at most 1,000,000,000"):
        parse_credits(sent)


@pytest.mark.parametrize("sent", ["9" * 1_000_000, "0." + "0" * 1_000_000, " " * 1_000_000])
def test_an_endless_text_is_refused_with_a_short_answer(sent: str) -> None:
    with pytest.raises(InvalidAmount) as refusal:
        parse_credits(sent)
    assert len(str(refusal.value)) < 200


def test_an_endless_integer_is_refused() -> None:
    with pytest.raises(InvalidAmount, match="at most 1,000,000,000"):
        parse_credits(10**100_000)


@pytest.mark.parametrize("sent", [True, False, 0.5, 1e300, float("nan")])
def test_a_float_or_a_truth_value_is_no_amount(sent: float) -> None:
    with pytest.raises(InvalidAmount, match="is not a number of credits"):
        parse_credits(sent)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("amount_micro", "written"),
    [(0, "0"), (1, "0.000001"), (-1, "-0.000001"), (10_000_000, "10"), (2_500_000, "2.5")],
)
def test_an_amount_is_written_without_superfluous_digits(amount_micro: int, written: str) -> None:
    assert format_credits(amount_micro) == written
