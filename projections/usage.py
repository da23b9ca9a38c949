"""Paid answers by day (UTC), user and model."""

from datetime import UTC

from domain.accounts.events import CreditsDebited
from projections.row_changes import Accumulate, Handlers, RowChanges, Value, on

TABLE = "usage"


def _debited(event: CreditsDebited, _position: int) -> RowChanges:
    key: dict[str, Value] = {
        "day": event.timestamp.astimezone(UTC).date(),
        "user_id": event.user_id,
        "model": event.model,
    }
    by = {
        "answers": 1,
        "prompt_tokens": event.prompt_tokens,
        "completion_tokens": event.completion_tokens,
        "charged_micro": event.amount_micro,
    }
    return (Accumulate(TABLE, key, by),)


HANDLERS: Handlers = dict([on(CreditsDebited, _debited)])
