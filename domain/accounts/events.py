"""Facts about one user's credits. Each money event carries the balance after it, so that a
statement line needs no other event to be explained, and an audit can compare both."""

from datetime import datetime
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from domain.events import Event
from domain.pricing.price import Price
from domain.records import record


class BucketKind(StrEnum):
    PAID = "paid"
    PROMOTIONAL = "promotional"


class Direction(StrEnum):
    CREDIT = "credit"  # in the user's favour
    DEBIT = "debit"


@record
class Share:
    """Part of an amount, with the bucket it was taken from; enough to give it back even after
    the bucket was used up, and at its old age (opened_version: of the event that opened it)."""

    bucket_id: UUID
    kind: BucketKind
    expires_at: datetime | None
    opened_version: int
    amount_micro: int


@record
class Balance:
    """paid and promotional are free to spend; held is set aside for answers under way."""

    paid_micro: int
    promotional_micro: int
    held_micro: int

    @property
    def available_micro(self) -> int:
        return self.paid_micro + self.promotional_micro

    @property
    def total_micro(self) -> int:
        return self.available_micro + self.held_micro


@record
class AccountOpened(Event):
    TOPIC: ClassVar[str] = "account.opened"

    user_id: UUID


@record
class MoneyEvent(Event):
    """user_id: whose account. balance: after the event."""

    TOPIC: ClassVar[str] = ""

    user_id: UUID
    balance: Balance


@record
class CreditsPurchased(MoneyEvent):
    """purchase_id names the bucket too. package_id is None for a free amount."""

    TOPIC: ClassVar[str] = "account.credits_purchased"

    purchase_id: UUID
    amount_micro: int
    package_id: str | None
    development: bool


@record
class CreditsGranted(MoneyEvent):
    """Credits nobody paid for. reason: "welcome", "bonus" or an administrator's words."""

    TOPIC: ClassVar[str] = "account.credits_granted"

    grant_id: UUID
    amount_micro: int
    expires_at: datetime | None
    reason: str
    granted_by: UUID | None
    purchase_id: UUID | None


@record
class CreditsHeld(MoneyEvent):
    TOPIC: ClassVar[str] = "account.credits_held"

    hold_id: UUID
    amount_micro: int
    shares: tuple[Share, ...]
    expires_at: datetime
    message_id: UUID
    conversation_id: UUID


@record
class CreditsDebited(MoneyEvent):
    """The capture of a hold: amount_micro is spent, released_micro goes back, and both together
    are the hold. shares: where the spent amount came from."""

    TOPIC: ClassVar[str] = "account.credits_debited"

    hold_id: UUID
    amount_micro: int
    released_micro: int
    shares: tuple[Share, ...]
    message_id: UUID
    conversation_id: UUID
    model: str
    price: Price
    prompt_tokens: int
    completion_tokens: int


@record
class HoldReleased(MoneyEvent):
    """reason: "failed", "cancelled", "timeout" or "expired"; "empty" in old logs, where an answer
    without text was no answer."""

    TOPIC: ClassVar[str] = "account.hold_released"

    hold_id: UUID
    amount_micro: int
    message_id: UUID
    reason: str


@record
class DebitRefunded(MoneyEvent):
    """Corrects the debit of message_id."""

    TOPIC: ClassVar[str] = "account.debit_refunded"

    refund_id: UUID
    message_id: UUID
    amount_micro: int
    shares: tuple[Share, ...]
    reason: str
    refunded_by: UUID


@record
class CreditsAdjusted(MoneyEvent):
    """An administrator's correction. A credit opens a paid bucket of its own; a debit is taken
    from `shares`."""

    TOPIC: ClassVar[str] = "account.credits_adjusted"

    adjustment_id: UUID
    direction: Direction
    amount_micro: int
    shares: tuple[Share, ...]
    reason: str
    adjusted_by: UUID


@record
class GrantExpired(MoneyEvent):
    """What was free in a promotional bucket when its time had passed."""

    TOPIC: ClassVar[str] = "account.grant_expired"

    grant_id: UUID
    amount_micro: int


@record
class AccountFrozen(Event):
    TOPIC: ClassVar[str] = "account.frozen"

    user_id: UUID
    reason: str
    frozen_by: UUID


@record
class AccountUnfrozen(Event):
    TOPIC: ClassVar[str] = "account.unfrozen"

    user_id: UUID
    unfrozen_by: UUID


AccountEvent = (
    AccountOpened
    | CreditsPurchased
    | CreditsGranted
    | CreditsHeld
    | CreditsDebited
    | HoldReleased
    | DebitRefunded
    | CreditsAdjusted
    | GrantExpired
    | AccountFrozen
    | AccountUnfrozen
)

# Those that have postings.
MONEY_EVENTS: tuple[type[MoneyEvent], ...] = (
    CreditsPurchased,
    CreditsGranted,
    CreditsHeld,
    CreditsDebited,
    HoldReleased,
    DebitRefunded,
    CreditsAdjusted,
    GrantExpired,
)
