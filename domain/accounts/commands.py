"""What can be asked of a credit account. Ids come in, so that a repeated command is the same
command."""

from datetime import datetime
from uuid import UUID

from domain.accounts.events import CreditsDebited, Direction
from domain.pricing.price import Price
from domain.records import record


@record
class OpenAccount:
    account_id: UUID
    user_id: UUID


@record
class PurchaseCredits:
    """bonus_micro is granted beside what was paid for, as promotional credits without expiry."""

    purchase_id: UUID
    amount_micro: int
    bonus_id: UUID
    bonus_micro: int
    package_id: str | None
    development: bool


@record
class GrantCredits:
    grant_id: UUID
    amount_micro: int
    expires_at: datetime | None
    reason: str
    granted_by: UUID | None


@record
class HoldCredits:
    hold_id: UUID
    amount_micro: int
    expires_at: datetime
    message_id: UUID
    conversation_id: UUID


@record
class CaptureHold:
    """Pays for a delivered answer; amount_micro is at most the hold."""

    hold_id: UUID
    amount_micro: int
    model: str
    price: Price
    prompt_tokens: int
    completion_tokens: int


@record
class ReleaseHold:
    """The answer failed: everything goes back."""

    hold_id: UUID
    reason: str


@record
class ExpireHold:
    """The sweeper's command: only for a hold whose time has passed."""

    hold_id: UUID


@record
class ExpireGrants:
    """Takes back what is left of every grant whose time has passed."""


@record
class RefundDebit:
    """debit: what the answer was charged, as it stands in the account's log. amount_micro: all of
    it or a part. Decided by `domain.accounts.decider.decide_refund` alone."""

    refund_id: UUID
    debit: CreditsDebited
    amount_micro: int
    reason: str
    refunded_by: UUID


@record
class AdjustCredits:
    adjustment_id: UUID
    direction: Direction
    amount_micro: int
    reason: str
    adjusted_by: UUID


@record
class FreezeAccount:
    reason: str
    frozen_by: UUID


@record
class UnfreezeAccount:
    unfrozen_by: UUID


AccountCommand = (
    OpenAccount
    | PurchaseCredits
    | GrantCredits
    | HoldCredits
    | CaptureHold
    | ReleaseHold
    | ExpireHold
    | ExpireGrants
    | AdjustCredits
    | FreezeAccount
    | UnfreezeAccount
)
