"""A receipt as a list of facts: what was held, what was charged, and where the log says so."""

from decimal import Decimal
from typing import Any

from markupsafe import Markup

from interfaces.ui.client.responses import PerMessage, PerToken, read_as
from interfaces.ui.drawing.formats import credits_phrase, credits_text, price_phrase, time_text
from interfaces.ui.drawing.pieces import EMPTY, join

_CREDITS = {"held", "charged", "released", "refunded"}
_TIMES = {"held_at", "settled_at"}
_LABELS = {
    "status": "Status",
    "reason": "Reason",
    "model": "Model",
    "price": "Price",
    "prompt_tokens": "Tokens in",
    "completion_tokens": "Tokens out",
    "finish_reason": "Ended by",
    "held": "Held",
    "charged": "Charged",
    "released": "Given back",
    "refunded": "Refunded",
    "held_at": "Held at (UTC)",
    "settled_at": "Settled at (UTC)",
    "message_id": "Message",
    "hold_position": "Hold in the ledger",
    "settlement_position": "Settlement in the ledger",
    "manifest_hash": "Model weights",
    "computed_on": "Computed on",
}
_FINISH_WORDS = {
    "stop": "the model, at the end of its answer",
    "length": "the longest answer that was allowed",
    "cancelled": "you, with Stop",
    "timeout": "the time limit, in the middle of its answer",
    "error": "a failure of ours, in the middle of its answer",
}


def receipt_html(receipt: dict[str, Any]) -> Markup:
    """The facts that a reader may want to check, in a fixed order; others are left out."""
    rows = join(
        Markup("<dt>{}</dt><dd>{}</dd>").format(label, _fact(name, receipt[name]))
        for name, label in _LABELS.items()
        if receipt.get(name) not in (None, "") and not _is_idle(name, receipt[name])
    )
    if not rows:
        return EMPTY
    return Markup('<dl class="cl-receipt" aria-label="Receipt">{}</dl>').format(rows)


def _is_idle(name: str, value: Any) -> bool:
    """A refund of nothing says nothing."""
    return name == "refunded" and value == 0


def _fact(name: str, value: Any) -> str:
    if name in _CREDITS and isinstance(value, int | Decimal):
        return credits_phrase(Decimal(value))
    if name == "price" and isinstance(value, dict):
        per_token = value.get("kind") == "per_token"
        return price_phrase(read_as(value, PerToken) if per_token else read_as(value, PerMessage))
    if name in _TIMES:
        return time_text(str(value))
    if name == "finish_reason":
        return _FINISH_WORDS.get(str(value), str(value))
    if name.endswith("_position"):
        return f"event {value}"
    if isinstance(value, int | Decimal):
        return credits_text(Decimal(value))
    return str(value)
