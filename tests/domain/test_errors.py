"""Refusals form one tree, drawn once, and each has a code that programs can rely on."""

import re
from collections.abc import Iterator

from domain import errors
from domain.errors import InsufficientCredits, InvalidInput, Refusal


def drawn(refusal: type[Refusal], indent: str = "    ") -> Iterator[str]:
    """The tree below a class, as the module draws it."""
    below = [each for each in refusal.__subclasses__() if each.__module__ == errors.__name__]
    for each in below:
        last = each is below[-1]
        yield f"{indent}{'└── ' if last else '├── '}{each.__name__}"
        yield from drawn(each, indent + ("    " if last else "│   "))


def refusals(refusal: type[Refusal] = Refusal) -> Iterator[type[Refusal]]:
    yield refusal
    for each in refusal.__subclasses__():
        if each.__module__ == errors.__name__:
            yield from refusals(each)


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    tree = "\n".join(["    Refusal", *drawn(Refusal)])
    assert errors.__doc__ is not None
    assert tree in errors.__doc__


def test_every_refusal_has_a_code_of_its_own() -> None:
    codes = [refusal.code for refusal in refusals()]
    assert sorted(codes) == sorted(set(codes))
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_invalid_input_names_its_field_where_there_is_only_one() -> None:
    named = {each.__name__: each.field for each in InvalidInput.__subclasses__() if each.field}
    assert {name: named[name] for name in named if hasattr(errors, name)} == {
        "InvalidAmount": "amount",
        "InvalidUsername": "username",
        "InvalidEmail": "email",
        "WeakPassword": "password",
    }


def test_a_lack_of_credits_carries_both_numbers_for_programs() -> None:
    refusal = InsufficientCredits("too few", available_micro=1, required_micro=2)
    assert (refusal.available_micro, refusal.required_micro) == (1, 2)
    assert str(refusal) == "too few"
