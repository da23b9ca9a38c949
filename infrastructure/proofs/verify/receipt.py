"""Checks a receipt and its events with nothing but the public key."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any
from uuid import UUID

import msgspec
from eventsourcing.persistence import MapperDeserialisationError

from application.ledger.mapping import decode_event
from application.proofs import ProvenEvent
from application.read_models import ReceiptView
from domain.proofs.leaves import event_leaf, microseconds
from domain.proofs.merkle import root_of_path
from infrastructure.proofs.checkpoints.records import SignedCheckpoint
from infrastructure.proofs.checkpoints.signing_key import PublicKey
from projections import receipts
from projections.row_changes import Increment, RowChange, Update, Upsert


def check_proof(
    events: Sequence[ProvenEvent], signed: SignedCheckpoint, key: PublicKey
) -> list[str]:
    """What is wrong, as sentences. Empty if every event is in the log that was signed."""
    wrong: list[str] = []
    if not signed.is_signed_by(key):
        wrong.append("the checkpoint is not signed with this public key, or was changed")
    for event in events:
        leaf = leaf_of(event)
        if leaf != event.leaf:
            wrong.append(
                f"the event at position {event.position} is not the one with the hash"
                f" {event.leaf.hex()}"
            )
        elif (
            root_of_path(leaf, event.index, signed.checkpoint.events, event.path)
            != signed.checkpoint.root
        ):
            wrong.append(
                f"the event at position {event.position} is not in the log that was signed"
            )
    return wrong


def leaf_of(event: ProvenEvent) -> bytes:
    return event_leaf(
        position=event.position,
        stream_id=event.stream_id.bytes,
        version=event.version,
        recorded_us=microseconds(event.recorded_at),
        topic=event.topic.encode(),
        state=event.state,
    )


def receipt_of(events: Sequence[ProvenEvent], message_id: UUID) -> ReceiptView | None:
    """The receipt that the events make; None if none of them is about the message.

    Raises MapperDeserialisationError.
    """
    row: dict[str, Any] = {"message_id": message_id}
    for stored in sorted(events, key=lambda event: event.position):
        event = decode_event(
            topic=stored.topic,
            originator_id=stored.stream_id,
            originator_version=stored.version,
            state=stored.state,
        )
        handler = receipts.HANDLERS.get(type(event))
        for change in () if handler is None else handler(event, stored.position):
            _apply(change, row, message_id)
    if len(row) == 1:
        return None
    known = {field.name: row.get(field.name) for field in fields(ReceiptView)}
    try:
        return msgspec.convert(known, ReceiptView)
    except msgspec.ValidationError as error:
        raise MapperDeserialisationError(f"the events make no receipt: {error}") from error


def _apply(change: RowChange, row: dict[str, Any], message_id: UUID) -> None:
    match change:
        case Upsert() if change.key == {"message_id": message_id}:
            row |= change.values
        case Update() if change.where == {"message_id": message_id} and len(row) > 1:
            row |= change.values
        case Increment() if change.where == {"message_id": message_id} and len(row) > 1:
            for column, by in change.by.items():
                row[column] += by
        case _:
            pass
