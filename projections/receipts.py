"""One receipt for each answer that credits were held for: how much was held, charged and given
back, the price, the hash of the weights' manifest, and the events that prove it."""

from domain.accounts.events import CreditsDebited, CreditsHeld, DebitRefunded, HoldReleased
from domain.conversations.events import ResponseGenerated
from domain.pricing.price import Price
from projections.row_changes import Handlers, Increment, RowChanges, Update, Upsert, Value, on

TABLE = "receipts"


def _held(event: CreditsHeld, position: int) -> RowChanges:
    values: dict[str, Value] = {
        "user_id": event.user_id,
        "conversation_id": event.conversation_id,
        "hold_id": event.hold_id,
        "status": "open",
        "held_micro": event.amount_micro,
        "charged_micro": 0,
        "released_micro": 0,
        "refunded_micro": 0,
        "held_at": event.timestamp,
        "hold_position": position,
    }
    return (Upsert(TABLE, {"message_id": event.message_id}, values),)


def _charged(event: CreditsDebited, position: int) -> RowChanges:
    values: dict[str, Value] = {
        "status": "charged",
        "model": event.model,
        "price": _price(event.price),
        "prompt_tokens": event.prompt_tokens,
        "completion_tokens": event.completion_tokens,
        "charged_micro": event.amount_micro,
        "released_micro": event.released_micro,
        "settled_at": event.timestamp,
        "settlement_position": position,
    }
    return (Update(TABLE, {"message_id": event.message_id}, values),)


def _released(event: HoldReleased, position: int) -> RowChanges:
    values: dict[str, Value] = {
        "status": "released",
        "reason": event.reason,
        "released_micro": event.amount_micro,
        "settled_at": event.timestamp,
        "settlement_position": position,
    }
    return (Update(TABLE, {"message_id": event.message_id}, values),)


def _refunded(event: DebitRefunded, _position: int) -> RowChanges:
    where = {"message_id": event.message_id}
    return (
        Update(TABLE, where, {"status": "refunded", "reason": event.reason}),
        Increment(TABLE, where, {"refunded_micro": event.amount_micro}),
    )


def _answered(event: ResponseGenerated, position: int) -> RowChanges:
    values: dict[str, Value] = {
        "manifest_hash": event.manifest_hash,
        "finish_reason": event.finish_reason,
        "response_position": position,
    }
    return (Update(TABLE, {"message_id": event.response_id}, values),)


def _price(price: Price) -> Value:
    return {
        "kind": price.kind.value,
        "version": price.version,
        "message_micro": price.message_micro,
        "prompt_micro_per_1000": price.prompt_micro_per_1000,
        "completion_micro_per_1000": price.completion_micro_per_1000,
    }


HANDLERS: Handlers = dict(
    [
        on(CreditsHeld, _held),
        on(CreditsDebited, _charged),
        on(HoldReleased, _released),
        on(DebitRefunded, _refunded),
        on(ResponseGenerated, _answered),
    ]
)
