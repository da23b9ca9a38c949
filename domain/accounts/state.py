"""The fold of a credit account: buckets of free credits, and open holds."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from domain.accounts.events import (
    AccountEvent,
    AccountFrozen,
    AccountOpened,
    AccountUnfrozen,
    Balance,
    BucketKind,
    CreditsAdjusted,
    CreditsDebited,
    CreditsGranted,
    CreditsHeld,
    CreditsPurchased,
    DebitRefunded,
    Direction,
    GrantExpired,
    HoldReleased,
    Share,
)
from domain.records import record

# Loops over buckets take this name: reading the enumeration in each turn doubles their time.
PAID = BucketKind.PAID


@record
class Bucket:
    """Free credits of one origin; what is held is not in here. opened_version orders buckets by
    age."""

    bucket_id: UUID
    kind: BucketKind
    expires_at: datetime | None
    free_micro: int
    opened_version: int

    def has_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def spendable_micro(self, now: datetime) -> int:
        return 0 if self.has_expired(now) else self.free_micro


@record
class Hold:
    hold_id: UUID
    amount_micro: int
    shares: tuple[Share, ...]
    expires_at: datetime
    message_id: UUID
    conversation_id: UUID


@record
class AccountState:
    """Empty buckets and closed holds are dropped, so the state stays as small as what is open."""

    id: UUID
    version: int
    user_id: UUID
    buckets: tuple[Bucket, ...] = ()
    holds: tuple[Hold, ...] = ()
    frozen: bool = False

    @property
    def balance(self) -> Balance:
        paid, promotional, held = self.sums_micro()
        return Balance(paid_micro=paid, promotional_micro=promotional, held_micro=held)

    def sums_micro(self) -> tuple[int, int, int]:
        """Paid, promotional and held. By the log: a grant counts until its GrantExpired, as on
        every statement."""
        paid = promotional = held = 0
        for bucket in self.buckets:
            if bucket.kind is PAID:
                paid += bucket.free_micro
            else:
                promotional += bucket.free_micro
        for hold in self.holds:
            held += hold.amount_micro
        return paid, promotional, held

    def available_micro(self, now: datetime) -> int:
        """What can be spent now: without grants whose time has passed."""
        return sum(bucket.spendable_micro(now) for bucket in self.buckets)

    def hold(self, hold_id: UUID) -> Hold | None:
        # Integers are compared faster than UUIDs.
        wanted = hold_id.int
        for hold in self.holds:
            if hold.hold_id.int == wanted:
                return hold
        return None


def evolve(state: AccountState | None, event: AccountEvent) -> AccountState:
    """Never rejects history."""
    if isinstance(event, AccountOpened):
        return AccountState(
            id=event.originator_id, version=event.originator_version, user_id=event.user_id
        )
    assert state is not None, "an account's first event is AccountOpened"
    return replace(state, version=event.originator_version, **_changes(state, event))


def _changes(state: AccountState, event: AccountEvent) -> dict[str, Any]:
    """The fields that the event changes, beside the version."""
    match event:
        case CreditsHeld():
            hold = Hold(
                hold_id=event.hold_id,
                amount_micro=event.amount_micro,
                shares=event.shares,
                expires_at=event.expires_at,
                message_id=event.message_id,
                conversation_id=event.conversation_id,
            )
            return {
                "buckets": _take(state.buckets, _by_bucket(event.shares)),
                "holds": (*state.holds, hold),
            }
        case CreditsDebited():
            return _close_hold(state, event.hold_id, event.shares)
        case HoldReleased():
            return _close_hold(state, event.hold_id, ())
        case CreditsPurchased():
            return _open_bucket(state, event, event.purchase_id, BucketKind.PAID)
        case CreditsGranted():
            return _open_bucket(
                state, event, event.grant_id, BucketKind.PROMOTIONAL, event.expires_at
            )
        case DebitRefunded():
            return {"buckets": _give(state.buckets, event.shares)}
        case CreditsAdjusted(direction=Direction.CREDIT):
            return _open_bucket(state, event, event.adjustment_id, BucketKind.PAID)
        case CreditsAdjusted():
            return {"buckets": _take(state.buckets, _by_bucket(event.shares))}
        case GrantExpired():
            return {"buckets": _take(state.buckets, {event.grant_id: event.amount_micro})}
        case AccountFrozen():
            return {"frozen": True}
        case AccountUnfrozen():
            return {"frozen": False}
        case AccountOpened():
            return {}


def subtract_shares(shares: tuple[Share, ...], spent: tuple[Share, ...]) -> tuple[Share, ...]:
    """What is left of `shares` after `spent` was taken out of them, bucket by bucket."""
    if spent == shares:
        return ()
    spent_micro = _by_bucket(spent)
    left = (
        replace(share, amount_micro=share.amount_micro - spent_micro.get(share.bucket_id, 0))
        for share in shares
    )
    return tuple(share for share in left if share.amount_micro)


def _by_bucket(shares: tuple[Share, ...]) -> dict[UUID, int]:
    return {share.bucket_id: share.amount_micro for share in shares}


def _close_hold(state: AccountState, hold_id: UUID, spent: tuple[Share, ...]) -> dict[str, Any]:
    hold = state.hold(hold_id)
    if hold is None:
        return {}
    return {
        "holds": tuple([other for other in state.holds if other is not hold]),
        "buckets": _give(state.buckets, subtract_shares(hold.shares, spent)),
    }


def _open_bucket(
    state: AccountState,
    event: CreditsPurchased | CreditsGranted | CreditsAdjusted,
    bucket_id: UUID,
    kind: BucketKind,
    expires_at: datetime | None = None,
) -> dict[str, Any]:
    share = Share(
        bucket_id=bucket_id,
        kind=kind,
        expires_at=expires_at,
        opened_version=event.originator_version,
        amount_micro=event.amount_micro,
    )
    return {"buckets": _give(state.buckets, (share,))}


def _take(buckets: tuple[Bucket, ...], micro_by_bucket: dict[UUID, int]) -> tuple[Bucket, ...]:
    left = []
    for bucket in buckets:
        free_micro = bucket.free_micro - micro_by_bucket.get(bucket.bucket_id, 0)
        if free_micro:
            left.append(replace(bucket, free_micro=free_micro))
    return tuple(left)


def _give(buckets: tuple[Bucket, ...], shares: tuple[Share, ...]) -> tuple[Bucket, ...]:
    """A bucket that was used up meanwhile is opened again, under its own id and at its old age."""
    if not shares:
        return buckets
    by_id = {bucket.bucket_id: bucket for bucket in buckets}
    for share in shares:
        bucket = by_id.get(share.bucket_id) or Bucket(
            bucket_id=share.bucket_id,
            kind=share.kind,
            expires_at=share.expires_at,
            free_micro=0,
            opened_version=share.opened_version,
        )
        by_id[share.bucket_id] = replace(bucket, free_micro=bucket.free_micro + share.amount_micro)
    return tuple(by_id.values())
