"""In which order credits are taken, which grants have expired, and the balance after either."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from domain.accounts.events import Balance, GrantExpired, Share
from domain.accounts.state import PAID, AccountState, Bucket
from domain.credits import format_credits
from domain.errors import InsufficientCredits
from domain.events import header

# Stands where there is no expiry. Such buckets come last, so it is compared with itself alone.
_NO_EXPIRY = datetime.max.replace(tzinfo=UTC)


def _burn_order(bucket: Bucket) -> tuple[bool, datetime, bool, int]:
    return (
        bucket.expires_at is None,
        bucket.expires_at or _NO_EXPIRY,
        bucket.kind is PAID,
        bucket.opened_version,
    )


def burn(state: AccountState, amount_micro: int, now: datetime) -> tuple[Share, ...]:
    """Shares that add up to the amount, in burn order. Raises InsufficientCredits."""
    available_micro = state.available_micro(now)
    if amount_micro > available_micro:
        raise InsufficientCredits(
            f"this takes {format_credits(amount_micro)} credits, and"
            f" {format_credits(available_micro)} are available; take less or add credits first",
            available_micro=available_micro,
            required_micro=amount_micro,
        )
    spendable = (bucket for bucket in state.buckets if bucket.spendable_micro(now))
    in_order = (
        Share(
            bucket_id=bucket.bucket_id,
            kind=bucket.kind,
            expires_at=bucket.expires_at,
            opened_version=bucket.opened_version,
            amount_micro=bucket.free_micro,
        )
        for bucket in sorted(spendable, key=_burn_order)
    )
    return tuple(first_shares(tuple(in_order), amount_micro))


def first_shares(shares: tuple[Share, ...], amount_micro: int) -> Iterator[Share]:
    """The first of these shares that together make the amount; the last one perhaps in part."""
    for share in shares:
        take_micro = min(share.amount_micro, amount_micro)
        if not take_micro:
            return
        amount_micro -= take_micro
        whole = take_micro == share.amount_micro
        yield share if whole else replace(share, amount_micro=take_micro)
    assert amount_micro == 0, "the shares cover the amount"


def expire_grants(state: AccountState, now: datetime) -> tuple[GrantExpired, ...]:
    """One event for every bucket with something left whose time has passed."""
    for bucket in state.buckets:
        if bucket.expires_at is not None and bucket.expires_at <= now:
            expired = [bucket for bucket in state.buckets if bucket.has_expired(now)]
            return tuple(_expirations(state, expired, now))
    return ()


def _expirations(
    state: AccountState, expired: list[Bucket], now: datetime
) -> Iterator[GrantExpired]:
    balance = state.balance
    for version, bucket in enumerate(expired, start=state.version + 1):
        left_micro = balance.promotional_micro - bucket.free_micro
        balance = replace(balance, promotional_micro=left_micro)
        yield GrantExpired(
            **header(state.id, version, now),
            user_id=state.user_id,
            balance=balance,
            grant_id=bucket.bucket_id,
            amount_micro=bucket.free_micro,
        )


def balance_after(
    state: AccountState, shares: tuple[Share, ...], *, held_micro: int, give: bool = False
) -> Balance:
    """The balance after shares were taken from the buckets (or given back)."""
    sign = 1 if give else -1
    paid_micro, promotional_micro, before_micro = state.sums_micro()
    for share in shares:
        if share.kind is PAID:
            paid_micro += sign * share.amount_micro
        else:
            promotional_micro += sign * share.amount_micro
    return Balance(
        paid_micro=paid_micro,
        promotional_micro=promotional_micro,
        held_micro=before_micro + held_micro,
    )
