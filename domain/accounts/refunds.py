"""What is refunded of a debit. The rules are told in `domain.accounts.decider`."""

from datetime import datetime

from domain.accounts.burning import balance_after, first_shares
from domain.accounts.commands import RefundDebit
from domain.accounts.events import CreditsDebited, DebitRefunded, Share
from domain.accounts.state import AccountState, subtract_shares
from domain.claims.uniqueness import ClaimState, ValueClaimed, claim
from domain.credits import format_credits
from domain.errors import AlreadyRefunded, InvalidAmount, MessageNotFound
from domain.events import header
from domain.identifiers import refund_claim_id
from domain.text import check_reason

# A message's claim (`domain.identifiers.refund_claim_id`), or a refund of it in the account's log.
Refunded = ClaimState | DebitRefunded


def claim_refund(debit: CreditsDebited, before: Refunded | None, now: datetime) -> ValueClaimed:
    """The only claim of the message's refund. Raises AlreadyRefunded."""
    if before is not None:
        raise AlreadyRefunded(
            "this message was refunded before, which can be done once; adjust the account instead"
        )
    claim_id = refund_claim_id(debit.message_id)
    return claim(claim_id, kind="refund", owner_id=debit.user_id, now=now)


def refund(command: RefundDebit, state: AccountState, now: datetime) -> DebitRefunded:
    """Raises MessageNotFound, InvalidAmount, InvalidText."""
    debit = command.debit
    if debit.originator_id != state.id:
        raise MessageNotFound("this account was not charged for this message")
    assert debit.originator_version <= state.version, "the debit stands in the account's log"
    if not debit.amount_micro:
        raise InvalidAmount("this message cost nothing, so there is nothing to refund")
    if not 0 < command.amount_micro <= debit.amount_micro:
        raise InvalidAmount(
            "a refund must be above zero and at most what the message cost,"
            f" {format_credits(debit.amount_micro)} credits"
        )
    shares = _last_shares(debit.shares, command.amount_micro)
    return DebitRefunded(
        **header(state.id, state.version + 1, now),
        user_id=state.user_id,
        balance=balance_after(state, shares, held_micro=0, give=True),
        refund_id=command.refund_id,
        message_id=debit.message_id,
        amount_micro=command.amount_micro,
        shares=shares,
        reason=check_reason(command.reason),
        refunded_by=command.refunded_by,
    )


def check_refund(refunded: DebitRefunded, before: CreditsDebited | DebitRefunded | None) -> None:
    """An AssertionError that names the rule which a stored refund breaks.

    before: the newest event ahead of it in the account's log that charged or refunded the message.
    """
    assert before is not None, "a refund is of what the account was charged before"
    assert isinstance(before, CreditsDebited), "a debit is refunded at most once"
    assert refunded.amount_micro <= before.amount_micro, "no more is refunded than was charged"
    given_micro = sum([share.amount_micro for share in refunded.shares])
    assert refunded.amount_micro == given_micro, "a refund is the sum of its shares"


def _last_shares(shares: tuple[Share, ...], amount_micro: int) -> tuple[Share, ...]:
    """The shares that would not have been taken if the message had cost this much less."""
    charged_micro = sum(share.amount_micro for share in shares)
    return subtract_shares(shares, tuple(first_shares(shares, charged_micro - amount_micro)))
