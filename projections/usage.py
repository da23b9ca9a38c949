"""Paid answers by day (UTC), user and model."""

from datetime import UTC

from domain.accounts.events import CreditsDebited
from domain.events import Event
from projections.row_changes import Accumulate, RowChanges

TABLE = "usage"
EVENTS: tuple[type[Event], ...] = (CreditsDebited,)


def project(event: Event, position: int) -> RowChanges:  # noqa: ARG001 - the form of a projection
    if isinstance(event, CreditsDebited):
        yield Accumulate(
            TABLE,
            {
                "day": event.timestamp.astimezone(UTC).date(),
                "user_id": event.user_id,
                "model": event.model,
            },
            {
                "answers": 1,
                "prompt_tokens": event.prompt_tokens,
                "completion_tokens": event.completion_tokens,
                "charged_micro": event.amount_micro,
            },
        )
