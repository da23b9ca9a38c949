"""One receipt for each answer that was ever held for: what was set aside, charged and given
back, by which price, for which weights, and the events that prove it."""

from domain.accounts.events import CreditsDebited, CreditsHeld, DebitRefunded, HoldReleased
from domain.conversations.events import ResponseGenerated
from domain.events import Event
from domain.pricing.price import Price
from projections.row_changes import Increment, Row, RowChanges, Update, Upsert, Value

TABLE = "receipts"
EVENTS: tuple[type[Event], ...] = (
    CreditsHeld,
    CreditsDebited,
    HoldReleased,
    DebitRefunded,
    ResponseGenerated,
)


def project(event: Event, position: int) -> RowChanges:
    match event:
        case CreditsHeld():
            yield Upsert(TABLE, {"message_id": event.message_id}, _held(event, position))
        case CreditsDebited():
            yield Update(TABLE, {"message_id": event.message_id}, _charged(event, position))
        case HoldReleased():
            yield Update(
                TABLE,
                {"message_id": event.message_id},
                {
                    "status": "released",
                    "reason": event.reason,
                    "released_micro": event.amount_micro,
                    "settled_at": event.timestamp,
                    "settlement_position": position,
                },
            )
        case DebitRefunded():
            where = {"message_id": event.message_id}
            yield Update(TABLE, where, {"status": "refunded", "reason": event.reason})
            yield Increment(TABLE, where, {"refunded_micro": event.amount_micro})
        case ResponseGenerated():
            yield Update(
                TABLE,
                {"message_id": event.response_id},
                {
                    "manifest_hash": event.manifest_hash,
                    "finish_reason": event.finish_reason,
                    "response_position": position,
                },
            )


def _held(event: CreditsHeld, position: int) -> Row:
    return {
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


def _charged(event: CreditsDebited, position: int) -> Row:
    return {
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


def _price(price: Price) -> Value:
    return {**vars(price), "kind": price.kind.value}
