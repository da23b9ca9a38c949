"""Values that one owner may have, and commands that are done once."""

from datetime import timedelta
from functools import reduce

import pytest

from domain.claims.idempotency import (
    CommandAbandoned,
    CommandCompleted,
    CommandStarted,
    Completed,
    Free,
    IdempotencyEvent,
    IdempotencyKey,
    IdempotencyState,
    KeyStatus,
    Running,
    abandon,
    evolve,
)
from domain.claims.uniqueness import ValueClaimed, claim
from domain.claims.uniqueness import evolve as evolve_claim
from domain.errors import IdempotencyKeyReused
from domain.identifiers import (
    account_id,
    email_claim_id,
    idempotency_claim_id,
    refund_claim_id,
    username_claim_id,
)
from tests.domain.given import NOW, USER, an_id

CLAIM = idempotency_claim_id(USER, "key-1")
ANSWER = an_id("answer")
KEY = IdempotencyKey(claim_id=CLAIM, request_hash="aa" * 32)
OTHER_REQUEST = IdempotencyKey(claim_id=CLAIM, request_hash="bb" * 32)


def folded(*events: IdempotencyEvent) -> IdempotencyState:
    state: IdempotencyState | None = None
    state = reduce(evolve, events, state)
    assert state is not None
    return state


STARTED = KEY.start(None, subject_id=ANSWER, now=NOW)
COMPLETED = KEY.complete(folded(STARTED), result='{"cost": "10"}', now=NOW)
ABANDONED = abandon(folded(STARTED), reason="failed", now=NOW)


def test_a_value_is_claimed_by_the_first_version_of_its_stream() -> None:
    stream = username_claim_id("ada")
    claimed = claim(stream, kind="username", owner_id=USER, now=NOW)
    assert claimed == ValueClaimed(
        originator_id=stream, originator_version=1, timestamp=NOW, kind="username", owner_id=USER
    )
    assert evolve_claim(None, claimed).owner_id == USER


def test_a_claim_does_not_tell_the_value() -> None:
    claimed = claim(email_claim_id("ada@example.com"), kind="email", owner_id=USER, now=NOW)
    assert "ada" not in repr(claimed)


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("ada@example.com", "ADA@Example.COM"),
        # The same address, typed on two keyboards: é as one character and as two.
        ("ren\u00e9@example.com", "rene\u0301@example.com"),
    ],
)
def test_one_address_is_one_claim_however_it_is_written(one: str, same: str) -> None:
    assert email_claim_id(one) == email_claim_id(same)


def test_one_username_is_one_claim_in_any_case() -> None:
    assert username_claim_id("Ada") == username_claim_id("aDA")
    assert username_claim_id("ada") != username_claim_id("adb")


def test_every_kind_of_derived_stream_has_its_own_ids() -> None:
    ids = {
        account_id(USER),
        username_claim_id(str(USER)),
        email_claim_id(str(USER)),
        refund_claim_id(USER),
        idempotency_claim_id(USER, ""),
        idempotency_claim_id(USER, "key"),
        idempotency_claim_id(an_id("another user"), "key"),
    }
    assert len(ids) == 7


def test_a_command_that_takes_long_is_started_and_then_completed() -> None:
    assert (
        CommandStarted(
            originator_id=CLAIM,
            originator_version=1,
            timestamp=NOW,
            request_hash="aa" * 32,
            subject_id=ANSWER,
        )
        == STARTED
    )
    assert folded(STARTED).running == ANSWER
    assert isinstance(COMPLETED, CommandCompleted)
    assert COMPLETED.originator_version == 2
    done = folded(STARTED, COMPLETED)
    assert (done.running, done.result) == (None, '{"cost": "10"}')


def test_a_quick_command_is_completed_at_once() -> None:
    completed = KEY.complete(None, result="{}", now=NOW)
    assert completed.originator_version == 1
    assert folded(completed).result == "{}"


@pytest.mark.parametrize(
    "events", [(STARTED,), (STARTED, COMPLETED), (STARTED, ABANDONED)], ids=len
)
def test_a_key_stands_for_one_request_for_ever(events: tuple[IdempotencyEvent, ...]) -> None:
    state = folded(*events)
    KEY.status(state)
    with pytest.raises(IdempotencyKeyReused, match="use a fresh key"):
        OTHER_REQUEST.status(state)
    with pytest.raises(IdempotencyKeyReused):
        OTHER_REQUEST.start(state, subject_id=ANSWER, now=NOW)
    with pytest.raises(IdempotencyKeyReused):
        OTHER_REQUEST.complete(state, result="{}", now=NOW)


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ((), Free()),
        ((STARTED,), Running(subject_id=ANSWER)),
        ((STARTED, COMPLETED), Completed(result='{"cost": "10"}')),
        ((STARTED, ABANDONED), Free()),
    ],
    ids=["never used", "running", "completed", "abandoned"],
)
def test_a_key_is_free_running_or_completed(
    events: tuple[IdempotencyEvent, ...], status: KeyStatus
) -> None:
    assert KEY.status(folded(*events) if events else None) == status


def test_a_command_that_is_running_or_done_is_not_started_again() -> None:
    for state in (folded(STARTED), folded(STARTED, COMPLETED)):
        with pytest.raises(AssertionError):
            KEY.start(state, subject_id=an_id("another answer"), now=NOW)


def test_a_result_is_recorded_once() -> None:
    with pytest.raises(AssertionError):
        KEY.complete(folded(STARTED, COMPLETED), result="{}", now=NOW)


def test_an_abandoned_command_may_be_tried_again_under_its_key() -> None:
    assert isinstance(ABANDONED, CommandAbandoned)
    assert (ABANDONED.originator_version, ABANDONED.reason) == (2, "failed")
    state = folded(STARTED, ABANDONED)
    assert (state.running, state.result) == (None, None)
    again = KEY.start(state, subject_id=an_id("second answer"), now=NOW + timedelta(seconds=1))
    assert again.originator_version == 3
    assert folded(STARTED, ABANDONED, again).running == an_id("second answer")


@pytest.mark.parametrize("events", [(STARTED, COMPLETED), (STARTED, ABANDONED)], ids=len)
def test_only_a_running_command_is_abandoned(events: tuple[IdempotencyEvent, ...]) -> None:
    with pytest.raises(AssertionError, match="only a running command is abandoned"):
        abandon(folded(*events), reason="late", now=NOW)
