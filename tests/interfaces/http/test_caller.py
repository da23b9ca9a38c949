"""What counts as the address of a caller."""

import pytest
from structlog.testing import capture_logs

from interfaces.http.caller import CallerAddresses
from interfaces.web.visitor_address import sign_address, visitor_key

NOW_S = 1_800_000_000.0
KEY = visitor_key("a secret")


def of(header: str | None, *, now_s: float = NOW_S) -> str:
    return CallerAddresses(KEY, now_s=lambda: now_s).of("127.0.0.1", header)


def test_the_page_speaks_for_its_visitor() -> None:
    assert of(sign_address("203.0.113.5", KEY, NOW_S)) == "203.0.113.5"
    assert of(sign_address("::ffff:203.0.113.5", KEY, NOW_S)) == "203.0.113.5"
    assert of(None) == "127.0.0.1"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "203.0.113.5",
        "203.0.113.5 1800000000",
        "203.0.113.5 1800000000 AAAA",
        "203.0.113.5 now AAAA",
        "\xff\xfe",
        " ",
        sign_address("203.0.113.5", visitor_key("another secret"), NOW_S),
        sign_address("203.0.113.5", KEY, NOW_S).replace("203.0.113.5", "203.0.113.6"),
        sign_address("203.0.113.5", KEY, NOW_S - 61),
        sign_address("203.0.113.5", KEY, NOW_S + 61),
    ],
)
def test_what_the_page_has_not_signed_just_now_changes_nothing(header: str) -> None:
    assert of(header) == "127.0.0.1"


def test_a_header_that_is_not_believed_is_told_to_the_operator_once() -> None:
    addresses = CallerAddresses(KEY)
    with capture_logs() as lines:
        for _ in range(5):
            addresses.of("127.0.0.1", "nonsense")

    assert [line["event"] for line in lines] == ["visitor_address_not_believed"]
