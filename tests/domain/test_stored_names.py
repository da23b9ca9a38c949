"""What was stored once can be read for ever."""

import copy

from application.ledger.streams import ALL_KINDS
from domain.events import Event
from tests.domain.stored_names import (
    COMMAND,
    Record,
    in_code,
    recorded,
    upcasts_missing,
    what_history_loses,
)

EVENT_TYPES = tuple(event_type for kind in ALL_KINDS for event_type in kind.event_types)


def test_the_code_reads_everything_that_history_holds() -> None:
    assert list(what_history_loses(recorded(), in_code())) == []


def test_a_raised_version_says_how_the_older_ones_are_read() -> None:
    assert list(upcasts_missing(EVENT_TYPES)) == []


def test_everything_that_can_be_stored_is_on_record() -> None:
    assert recorded() == in_code(), f"something new is stored: run `{COMMAND}` and commit the file"


def changed() -> Record:
    return copy.deepcopy(in_code())


def test_a_name_that_disappears_is_noticed() -> None:
    new = changed()
    del new["events"]["account.credits_debited"]
    (sentence,) = what_history_loses(in_code(), new)
    assert sentence == (
        "The stored name 'account.credits_debited' disappeared, but history holds it: keep its"
        " class, or give the renamed class TOPIC = 'account.credits_debited'."
    )


def test_a_field_that_changes_without_a_new_version_is_noticed() -> None:
    new = changed()
    new["events"]["user.registered"]["fields"]["email"] = "bytes"
    del new["events"]["user.registered"]["fields"]["username"]
    (sentence,) = what_history_loses(in_code(), new)
    assert "The fields ['email', 'username'] of 'user.registered' changed" in sentence
    assert "without a new class_version: raise it to 2" in sentence


def test_a_field_that_changes_with_a_new_version_is_allowed() -> None:
    new = changed()
    new["events"]["user.registered"] = {"version": 2, "fields": {}}
    assert list(what_history_loses(in_code(), new)) == []


def test_a_version_never_goes_back() -> None:
    old = changed()
    old["events"]["user.registered"]["version"] = 2
    (sentence,) = what_history_loses(old, in_code())
    assert sentence == "'user.registered' went back from class_version 2 to 1."


def test_a_value_that_disappears_from_an_enum_is_noticed_and_a_new_one_is_not() -> None:
    new = changed()
    new["enums"]["UserRole"] = ["user", "admin", "guest"]
    (sentence,) = what_history_loses(in_code(), new)
    assert sentence == "The value 'auditor' of UserRole disappeared, but history holds it."


def test_a_state_that_changes_without_a_new_version_would_misread_old_snapshots() -> None:
    new = changed()
    new["snapshots"]["account"]["fields"]["frozen"] = "str"
    (sentence,) = what_history_loses(in_code(), new)
    assert "of 'snapshot of account' changed without a new state_version" in sentence


def test_a_raised_version_without_its_reader_is_noticed() -> None:
    class Raised(Event):
        class_version = 2

    assert list(upcasts_missing((Raised,))) == ["Raised has class_version 2 but no upcast_v1_v2."]
