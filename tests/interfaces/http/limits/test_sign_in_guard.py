"""Who may try a password now, on a clock that the test moves."""

from contextlib import suppress
from dataclasses import replace
from uuid import UUID, uuid5

import pytest

from domain.errors import IdempotencyKeyReused, UserIsSuspended, WrongCredentials
from domain.identifiers import NAMESPACE
from interfaces.http.limits.sign_in_guard import GuardLimits, SignInGuard
from interfaces.http.problems import RateLimited

LIMITS = GuardLimits(
    pair_free=3,
    address_free=5,
    account_free=8,
    delay_s_max=60,
    turn_s=2,
    forget_s=3600,
    records_max=1000,
)
ADA = uuid5(NAMESPACE, "ada")
BOB = uuid5(NAMESPACE, "bob")
HOME, STRANGER = "192.0.2.1", "198.51.100.9"


class Door:
    """A guard, its clock, and somebody who tries."""

    def __init__(self, limits: GuardLimits = LIMITS) -> None:
        self.now_s = 1000.0
        self.guard = SignInGuard(limits, clock=lambda: self.now_s)

    def wrong(self, account: UUID = ADA, address: str = STRANGER) -> int:
        """0 when the try was let through, else the seconds to wait."""
        return self.end(account, address, WrongCredentials("wrong"))

    def right(self, account: UUID = ADA, address: str = HOME) -> int:
        return self.end(account, address, None)

    def end(self, account: UUID, address: str, error: Exception | None) -> int:
        try:
            with suppress(WrongCredentials), self.guard.trying(account, address):
                if error is not None:
                    raise error
        except RateLimited as refusal:
            return int(refusal.headers["Retry-After"])
        return 0


@pytest.fixture
def door() -> Door:
    return Door()


def test_each_wrong_password_beyond_the_free_ones_doubles_the_wait_up_to_a_bound(
    door: Door,
) -> None:
    waits = []
    for _ in range(3):
        assert door.wrong() == 0
    for _ in range(9):
        waits.append(door.wrong())
        door.now_s += waits[-1]
        assert door.wrong() == 0

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_refused_tries_do_not_count(door: Door) -> None:
    for _ in range(3):
        door.wrong()
    assert [door.wrong() for _ in range(50)] == [1] * 50
    door.now_s += 1
    assert door.wrong() == 0


def test_a_stranger_locks_nobody_out_whatever_the_stranger_does(door: Door) -> None:
    for _ in range(500):
        door.wrong()
        door.now_s += 0.5

    assert door.right(ADA, HOME) == 0
    assert door.right(ADA, "203.0.113.77") == 0


def test_an_address_that_tries_many_names_waits_whatever_the_name(door: Door) -> None:
    names = [uuid5(NAMESPACE, str(number)) for number in range(20)]

    waits = [door.wrong(name) for name in names]

    assert waits == [0] * 5 + [1] * 15
    assert door.wrong(ADA, HOME) == 0


def test_a_person_at_a_known_address_does_not_wait_for_its_strangers(door: Door) -> None:
    door.right(ADA, HOME)
    for number in range(20):
        door.wrong(uuid5(NAMESPACE, str(number)), HOME)

    assert door.right(ADA, HOME) == 0
    assert door.right(BOB, HOME) == 1


def test_right_passwords_cost_nothing_however_many(door: Door) -> None:
    assert [door.right() for _ in range(100)] == [0] * 100
    for _ in range(2):
        door.wrong(ADA, HOME)
    door.right()
    assert [door.wrong(ADA, HOME) for _ in range(4)] == [0, 0, 0, 1]


def test_a_right_password_for_another_account_gives_an_address_nothing_back(door: Door) -> None:
    waits = []
    for number in range(12):
        door.right(BOB, STRANGER)
        waits.append(door.wrong(uuid5(NAMESPACE, str(number)), STRANGER))

    assert waits == [0] * 5 + [1] * 7


def test_tries_under_way_count_as_if_they_had_failed(door: Door) -> None:
    with (
        door.guard.trying(ADA, STRANGER),
        door.guard.trying(ADA, STRANGER),
        door.guard.trying(ADA, STRANGER),
        pytest.raises(RateLimited),
        door.guard.trying(ADA, STRANGER),
    ):
        pass
    assert door.wrong() == 0


def test_many_addresses_that_guess_at_one_account_are_as_slow_as_one(door: Door) -> None:
    addresses = [f"10.0.0.{number}" for number in range(200)]
    let_through = 0
    for _ in range(20):
        let_through += sum(door.wrong(ADA, address) == 0 for address in addresses)
        door.now_s += 1

    assert let_through <= LIMITS.account_free + 20 / LIMITS.turn_s + 1
    assert door.right(BOB, "10.0.0.1") == 0


def test_an_unknown_address_has_its_turn_while_many_others_guess(door: Door) -> None:
    addresses = [f"10.0.0.{number}" for number in range(50)]
    for address in addresses:
        door.wrong(ADA, address)
    wait_s = door.right(ADA, HOME)
    assert 0 < wait_s <= 50 * LIMITS.turn_s
    for _ in range(wait_s):
        door.now_s += 1
        for address in addresses:
            door.wrong(ADA, address)

    assert door.right(ADA, HOME) == 0
    assert door.right(ADA, HOME) == 0, "known from now on"


def test_a_turn_that_nobody_comes_for_is_given_up(door: Door) -> None:
    for number in range(40):
        door.wrong(ADA, f"10.0.0.{number}")
    door.now_s += 40 * LIMITS.turn_s + 61

    assert door.right(ADA, HOME) == 0


@pytest.mark.parametrize("error", [UserIsSuspended("no"), RuntimeError("our mistake")])
def test_only_a_wrong_password_is_a_failure(door: Door, error: Exception) -> None:
    for _ in range(20):
        with pytest.raises(type(error)):
            door.end(ADA, STRANGER, error)

    assert [door.wrong() for _ in range(4)] == [0, 0, 0, 1]


@pytest.mark.parametrize("error", [IdempotencyKeyReused("other"), KeyboardInterrupt()])
def test_a_try_whose_outcome_nobody_waited_for_is_one(door: Door, error: BaseException) -> None:
    for _ in range(3):
        with pytest.raises(type(error)), door.guard.trying(ADA, STRANGER):
            raise error

    assert door.wrong() == 1


def test_failures_are_forgotten_after_a_while_without_any(door: Door) -> None:
    for _ in range(3):
        door.wrong()
    assert door.wrong() == 1
    door.now_s += LIMITS.forget_s

    assert [door.wrong() for _ in range(4)] == [0, 0, 0, 1]


def test_a_flood_of_names_and_addresses_does_not_make_a_slowed_one_forgotten() -> None:
    door = Door(replace(LIMITS, records_max=100))
    for _ in range(20):
        door.now_s += door.wrong()
    for number in range(1000):
        door.wrong(uuid5(NAMESPACE, str(number)), f"10.1.{number // 250}.{number % 250}")

    door.wrong()
    assert door.wrong() == 60
    for number in range(1000, 1100):
        for _ in range(LIMITS.pair_free):
            door.wrong(uuid5(NAMESPACE, str(number)), f"10.2.{number // 250}.{number % 250}")
        door.now_s += 1
    late = [door.wrong(BOB, "203.0.113.50") for _ in range(4)]
    assert late == [0, 0, 0, 1], "however full it is, whoever is new is counted, too"
    failures = (door.guard._pairs, door.guard._addresses, door.guard._accounts)
    assert max(len(kept) for kept in failures) <= 100
    assert len(door.guard._known) <= 100
