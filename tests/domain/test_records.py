"""Records are frozen dataclasses in everything but how their fields get there."""

from dataclasses import FrozenInstanceError, asdict, fields

import pytest

from domain.accounts.events import Balance, BucketKind, Share
from domain.records import changed, record


@record
class Priced:
    amount_micro: int
    model: str = "gemma3-270m"

    def __post_init__(self) -> None:
        assert self.amount_micro >= 0, "never negative"


def test_a_record_has_the_fields_it_was_given_in_their_order() -> None:
    balance = Balance(held_micro=3, paid_micro=1, promotional_micro=2)
    assert list(vars(balance).items()) == [
        ("paid_micro", 1),
        ("promotional_micro", 2),
        ("held_micro", 3),
    ]


def test_records_with_the_same_fields_are_equal_and_hash_alike() -> None:
    one, other = (Balance(paid_micro=1, promotional_micro=2, held_micro=3) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one != changed(other, held_micro=4)


def test_a_record_cannot_be_changed() -> None:
    balance = Balance(paid_micro=1, promotional_micro=2, held_micro=3)
    with pytest.raises(FrozenInstanceError):
        balance.held_micro = 4  # type: ignore[misc]


def test_a_default_is_taken_where_nothing_is_given() -> None:
    assert Priced(amount_micro=1).model == "gemma3-270m"
    assert asdict(Priced(amount_micro=1, model="other")) == {"amount_micro": 1, "model": "other"}


def test_what_a_record_checks_is_checked_when_it_is_made() -> None:
    with pytest.raises(AssertionError, match="never negative"):
        Priced(amount_micro=-1)


def test_a_missing_an_unknown_or_a_nameless_field_is_an_error() -> None:
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'held_micro'"):
        Balance(paid_micro=1, promotional_micro=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
        Priced(amount_micro=1, other=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        Priced(1)  # type: ignore[call-arg]


def test_a_change_names_a_field_that_is_there() -> None:
    share = Share(
        bucket_id=None,  # type: ignore[arg-type]
        kind=BucketKind.PAID,
        expires_at=None,
        opened_version=1,
        amount_micro=5,
    )
    assert changed(share, amount_micro=2).amount_micro == 2
    assert len(fields(share)) == len(vars(changed(share, amount_micro=2)))
    with pytest.raises(AssertionError, match="only fields that are there"):
        changed(share, amount=2)
