"""What time can end: open holds, and grants with an expiry of which something is unspent."""

from collections.abc import Iterator
from uuid import UUID

from domain.accounts.events import (
    CreditsAdjusted,
    CreditsDebited,
    CreditsGranted,
    CreditsHeld,
    DebitRefunded,
    GrantExpired,
    HoldReleased,
    Share,
)
from domain.events import Event
from projections.row_changes import Delete, Increment, RowChange, RowChanges, Upsert

HOLDS = "open_holds"
GRANTS = "expiring_grants"
EVENTS: tuple[type[Event], ...] = (
    CreditsHeld,
    CreditsDebited,
    HoldReleased,
    CreditsGranted,
    DebitRefunded,
    CreditsAdjusted,
    GrantExpired,
)


def project(event: Event, position: int) -> RowChanges:  # noqa: ARG001 - the form of a projection
    match event:
        case CreditsHeld():
            yield Upsert(
                HOLDS,
                {"hold_id": event.hold_id},
                {
                    "account_id": event.originator_id,
                    "user_id": event.user_id,
                    "conversation_id": event.conversation_id,
                    "message_id": event.message_id,
                    "amount_micro": event.amount_micro,
                    "expires_at": event.expires_at,
                },
            )
        case CreditsDebited():
            yield Delete(HOLDS, {"hold_id": event.hold_id})
            yield from _unspent(event.shares, sign=-1)
        case HoldReleased():
            yield Delete(HOLDS, {"hold_id": event.hold_id})
        case CreditsGranted() if event.expires_at is not None:
            yield Upsert(
                GRANTS,
                {"grant_id": event.grant_id},
                {
                    "account_id": event.originator_id,
                    "expires_at": event.expires_at,
                    "unspent_micro": event.amount_micro,
                },
            )
        case DebitRefunded():
            yield from _unspent(event.shares, sign=1)
        case CreditsAdjusted():
            yield from _unspent(event.shares, sign=-1)
        case GrantExpired():
            yield _increment(event.grant_id, -event.amount_micro)


def _unspent(shares: tuple[Share, ...], *, sign: int) -> Iterator[RowChange]:
    """Held credits count as unspent: a hold that is released gives them back, and the event does
    not say to which grant."""
    for share in shares:
        if share.expires_at is not None:
            yield _increment(share.bucket_id, sign * share.amount_micro)


def _increment(grant_id: UUID, by_micro: int) -> Increment:
    return Increment(GRANTS, {"grant_id": grant_id}, {"unspent_micro": by_micro})
