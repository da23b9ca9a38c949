"""Postings as a person reads them: what was moved, when, and for what."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain.accounts.events import (
    CreditsAdjusted,
    CreditsDebited,
    CreditsGranted,
    CreditsHeld,
    CreditsPurchased,
    DebitRefunded,
    GrantExpired,
    HoldReleased,
    MoneyEvent,
)
from domain.accounts.postings import postings
from domain.events import Event
from domain.pricing.words import price_words

AVAILABLE = "available"
HELD = "held"


@dataclass(frozen=True, kw_only=True)
class Period:
    """From `since` on, and before `until`; without a bound where it is None."""

    since: datetime | None = None
    until: datetime | None = None

    def is_before(self, time: datetime) -> bool:
        return self.since is not None and time < self.since

    def is_past(self, time: datetime) -> bool:
        return self.until is not None and time >= self.until

    def covers(self, time: datetime) -> bool:
        return not self.is_before(time) and not self.is_past(time)


ALL_TIME = Period()


@dataclass(frozen=True, kw_only=True)
class Posted:
    """One posting as it stands in the log. line: its number within the event, from 1. what: a
    phrase for a person. reference: the id of what it was for, a message, purchase or grant."""

    position: int
    line: int
    time: datetime
    event: str
    user_id: UUID
    source: str
    destination: str
    amount_micro: int
    what: str
    reference: UUID


def posted(position: int, event: Event) -> Iterator[Posted]:
    """Nothing for an event that moves nothing."""
    if not isinstance(event, MoneyEvent):
        return
    what, reference = _what_for(event)
    for line, posting in enumerate(postings(event), start=1):
        given_back = isinstance(event, CreditsDebited) and posting.destination.endswith(AVAILABLE)
        yield Posted(
            position=position,
            line=line,
            time=event.timestamp,
            event=event.TOPIC,
            user_id=event.user_id,
            source=posting.source,
            destination=posting.destination,
            amount_micro=posting.amount_micro,
            what="Unused part of the hold given back" if given_back else what,
            reference=reference,
        )


def _what_for(event: MoneyEvent) -> tuple[str, UUID]:
    match event:
        case CreditsPurchased():
            package = "" if event.package_id is None else f", package {event.package_id}"
            unpaid = " (development, nothing was paid)" if event.development else ""
            return f"Credits bought{package}{unpaid}", event.purchase_id
        case CreditsGranted():
            return f"Credits granted: {event.reason}", event.grant_id
        case CreditsHeld():
            return "Held for an answer", event.message_id
        case CreditsDebited():
            tokens = f"{event.prompt_tokens} + {event.completion_tokens} tokens"
            return (
                f"Answer by {event.model}, {tokens}, {price_words(event.price)}",
                event.message_id,
            )
        case HoldReleased():
            return f"Hold released: {event.reason}", event.message_id
        case DebitRefunded():
            return f"Refund: {event.reason}", event.message_id
        case CreditsAdjusted():
            return f"Correction: {event.reason}", event.adjustment_id
        case GrantExpired():
            return "Granted credits expired", event.grant_id
        case _:
            raise AssertionError(f"{event.TOPIC} moves credits and has no words")
