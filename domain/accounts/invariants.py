"""What is true of every account after every event: checked at write by `decide`, and again by
whoever replays the log."""

from collections.abc import Iterable

from domain.accounts.events import AccountEvent, MoneyEvent
from domain.accounts.state import AccountState, evolve


def evolve_checked(state: AccountState | None, event: AccountEvent) -> AccountState:
    """`evolve`, and an AssertionError that names the invariant which the event breaks."""
    version = 0 if state is None else state.version
    assert event.originator_version == version + 1, "events follow each other without a gap"
    after = evolve(state, event)
    for bucket in after.buckets:
        assert bucket.free_micro > 0, "no bucket is overdrawn"
    for hold in after.holds:
        in_shares_micro = sum([share.amount_micro for share in hold.shares])
        assert hold.amount_micro == in_shares_micro, "a hold is the sum of its shares"
    if isinstance(event, MoneyEvent):
        carried = event.balance
        sums_micro = carried.paid_micro, carried.promotional_micro, carried.held_micro
        assert sums_micro == after.sums_micro(), "the balance an event carries is the fold's"
    return after


def fold_checked(state: AccountState, events: Iterable[AccountEvent]) -> AccountState:
    for event in events:
        state = evolve_checked(state, event)
    return state
