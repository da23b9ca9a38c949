"""A receipt as the API answers it."""

from application.ledger.mapping import decode_event
from application.proofs import Proof
from application.read_models import ReceiptView
from domain.conversations.events import ResponseGenerated
from domain.credits import credits_decimal
from interfaces.http.billing.proof import ProofWire
from interfaces.http.billing.protocol import ReceiptWire
from interfaces.http.chat.convert import price_wire


def receipt_wire(view: ReceiptView, proof: Proof) -> ReceiptWire:
    return ReceiptWire(
        message_id=view.message_id,
        conversation_id=view.conversation_id,
        status=view.status,
        reason=view.reason,
        model=view.model,
        manifest_hash=view.manifest_hash,
        computed_on=_computed_on(view, proof),
        price=None if view.price is None else price_wire(view.price),
        price_version=None if view.price is None else view.price.version,
        prompt_tokens=view.prompt_tokens,
        completion_tokens=view.completion_tokens,
        finish_reason=view.finish_reason,
        hold_id=view.hold_id,
        held=credits_decimal(view.held_micro),
        charged=credits_decimal(view.charged_micro),
        released=credits_decimal(view.released_micro),
        refunded=credits_decimal(view.refunded_micro),
        held_at=view.held_at,
        settled_at=view.settled_at,
        hold_position=view.hold_position,
        settlement_position=view.settlement_position,
        response_position=view.response_position,
        proof=ProofWire.of(proof),
    )


def _computed_on(view: ReceiptView, proof: Proof) -> str | None:
    """From the answer's own event, which the proof has anyway."""
    for stored in proof.events:
        if stored.position == view.response_position:
            event = decode_event(
                topic=stored.topic,
                originator_id=stored.stream_id,
                originator_version=stored.version,
                state=stored.state,
            )
            return event.computed_on if isinstance(event, ResponseGenerated) else None
    return None
