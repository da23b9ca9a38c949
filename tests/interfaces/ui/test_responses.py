"""The API's responses as the page reads them, and its refusals in the page's words."""

from decimal import Decimal

import pytest

from interfaces.ui.client.errors import ApiGarbled, ApiProblem, ApiUnreachable, SignedOut
from interfaces.ui.client.responses import (
    Balance,
    Models,
    PerMessage,
    PerToken,
    read_as,
    read_response,
)
from interfaces.ui.drawing.pieces import notice_of


def test_a_number_becomes_a_decimal_from_its_own_digits() -> None:
    found = read_as(read_response('{"available": 0.100001, "held": 3, "new": [1]}'), Balance)
    assert (found.available, found.held) == (Decimal("0.100001"), Decimal(3))
    large = read_response("[9007199254740993.000001]")
    assert large == [Decimal("9007199254740993.000001")]


@pytest.mark.parametrize("text", ["", "{", '{"available": NaN, "held": 1}', "[1e5000x]", b"\xff"])
def test_what_is_not_json_is_named(text: str | bytes) -> None:
    with pytest.raises(ApiGarbled, match="The service sent something that is not"):
        read_response(text)


def test_an_answer_that_breaks_the_contract_is_named() -> None:
    with pytest.raises(ApiGarbled, match="held"):
        read_as({"available": 1}, Balance)


def test_both_kinds_of_price_are_read_with_empty_fields_of_the_other() -> None:
    model = {"name": "m", "title": "M", "state": "ready", "manifest_hash": None}
    each = {"kind": "per_message", "credits": 2, "prompt_credits_per_1000": None}
    tokens = {
        "kind": "per_token",
        "credits": None,
        "prompt_credits_per_1000": Decimal("0.25"),
        "completion_credits_per_1000": 1,
    }
    found = read_as({"items": [{**model, "price": each}, {**model, "price": tokens}]}, Models)
    assert isinstance(found.items[0].price, PerMessage)
    assert isinstance(found.items[1].price, PerToken)


def test_a_problem_is_told_with_what_to_do_next() -> None:
    poor = notice_of(ApiProblem.of(402, {"code": "insufficient_credits", "detail": "add credits"}))
    assert (poor.text, poor.actions) == ("Add credits.", (("Top up credits", "topup"),))
    fields = {"code": "validation_error", "errors": [{"field": "user.email", "detail": "is bad"}]}
    assert notice_of(ApiProblem.of(422, fields)).text == "Email: is bad."
    slow = notice_of(ApiProblem.of(429, {"code": "rate_limited", "detail": "too many"}, "12"))
    assert slow.text == "Too many. Try again in 12 seconds."
    document = {"code": "rate_limited", "detail": "too many wrong passwords; try again in 150 s"}
    slower = notice_of(ApiProblem.of(429, document, "150"))
    assert slower.text == "Too many wrong passwords. Try again in 3 minutes."
    busy = notice_of(ApiProblem.of(503, {"code": "sign_in_busy", "detail": "is busy"}, "1"))
    assert (busy.kind, busy.text) == ("warning", "Is busy. Try again in 1 second.")
    assert notice_of(ApiUnreachable("Gone.")).actions == (("Try again", "retry"),)
    assert "sign in" in notice_of(SignedOut()).text
    assert notice_of(ApiProblem.of(500, "not a document")).text.endswith("status 500.")
