"""What expires: open holds, and grants with an expiry of which something is unspent."""

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
from projections.row_changes import (
    Delete,
    Handlers,
    Increment,
    RowChange,
    RowChanges,
    Upsert,
    Value,
    on,
)

HOLDS = "open_holds"
GRANTS = "expiring_grants"


def _held(event: CreditsHeld, _position: int) -> RowChanges:
    values: dict[str, Value] = {
        "account_id": event.originator_id,
        "user_id": event.user_id,
        "conversation_id": event.conversation_id,
        "message_id": event.message_id,
        "amount_micro": event.amount_micro,
        "expires_at": event.expires_at,
    }
    return (Upsert(HOLDS, {"hold_id": event.hold_id}, values),)


def _debited(event: CreditsDebited, _position: int) -> RowChanges:
    return (Delete(HOLDS, {"hold_id": event.hold_id}), *_unspent(event.shares, sign=-1))


def _released(event: HoldReleased, _position: int) -> RowChanges:
    return (Delete(HOLDS, {"hold_id": event.hold_id}),)


def _granted(event: CreditsGranted, _position: int) -> RowChanges:
    if event.expires_at is None:
        return ()
    values: dict[str, Value] = {
        "account_id": event.originator_id,
        "expires_at": event.expires_at,
        "unspent_micro": event.amount_micro,
    }
    return (Upsert(GRANTS, {"grant_id": event.grant_id}, values),)


def _refunded(event: DebitRefunded, _position: int) -> RowChanges:
    return _unspent(event.shares, sign=1)


def _adjusted(event: CreditsAdjusted, _position: int) -> RowChanges:
    return _unspent(event.shares, sign=-1)


def _expired(event: GrantExpired, _position: int) -> RowChanges:
    return (_increment(event.grant_id, -event.amount_micro),)


def _unspent(shares: tuple[Share, ...], *, sign: int) -> list[RowChange]:
    """Held credits count as unspent: a hold that is released gives them back, and the event does
    not say to which grant."""
    return [
        _increment(share.bucket_id, sign * share.amount_micro)
        for share in shares
        if share.expires_at is not None
    ]


def _increment(grant_id: UUID, by_micro: int) -> Increment:
    return Increment(GRANTS, {"grant_id": grant_id}, {"unspent_micro": by_micro})


HANDLERS: Handlers = dict(
    [
        on(CreditsHeld, _held),
        on(CreditsDebited, _debited),
        on(HoldReleased, _released),
        on(CreditsGranted, _granted),
        on(DebitRefunded, _refunded),
        on(CreditsAdjusted, _adjusted),
        on(GrantExpired, _expired),
    ]
)
