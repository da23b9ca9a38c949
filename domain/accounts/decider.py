"""Every rule of a credit account.

- Credits are taken in burn order: earliest expiry first, then promotional, then paid, then the
  oldest.
- A grant whose time has passed cannot be spent. Every command first records what has expired; what
  the command itself gives back to such a grant expires in the same commit.
- An account holds at most BALANCE_MICRO_MAX.
- A hold sets credits aside for one answer; available credits never go below zero. The answer may
  be as long as they pay for (`domain.accounts.affordable`).
- A hold ends once: captured for what the answer cost (the rest goes back), released when the
  answer failed, or expired by the sweeper after its time.
- A frozen account takes no new holds; what is under way can still settle.
- What an answer cost can be refunded, all of it or a part, never more, and never what another
  account was charged. A part goes back as if the answer had cost that much less: first to the
  bucket that was taken from last.
- A debit is refunded at most once. Every refund claims its message in the same commit, and the
  claim's first version can be written only once. Refunds of old logs, without claims, count too.
- Whoever corrects, refunds or freezes an account says why.
"""

from dataclasses import replace
from datetime import datetime
from typing import assert_never
from uuid import UUID

from domain.accounts import commands as c
from domain.accounts import events as e
from domain.accounts.burning import balance_after, burn, expire_grants, first_shares
from domain.accounts.invariants import fold_checked
from domain.accounts.refunds import Refunded, claim_refund, refund
from domain.accounts.state import AccountState, Hold, evolve, subtract_shares
from domain.claims.uniqueness import ValueClaimed
from domain.credits import AMOUNT_MICRO_MAX, BALANCE_MICRO_MAX, format_credits
from domain.errors import AccountIsFrozen, HoldNotExpired, HoldNotOpen, InvalidAmount
from domain.events import Header, check_zone, header
from domain.text import check_reason


def decide(
    command: c.AccountCommand, state: AccountState | None, now: datetime
) -> tuple[e.AccountEvent, ...]:
    """Raises a Refusal, or returns the events that carry the command out (none when there is
    nothing to do)."""
    if isinstance(command, c.OpenAccount):
        assert state is None, "an account is opened once, with its user"
        opened = e.AccountOpened(**header(command.account_id, 1, now), user_id=command.user_id)
        return (opened,)
    return decide_folded(command, state, now)[0]


def decide_folded(
    command: c.AccountCommand, state: AccountState | None, now: datetime
) -> tuple[tuple[e.AccountEvent, ...], AccountState]:
    """As `decide`, for an account that is open: with the state after the events, which the
    checks have made anyway."""
    return _decide_folded(command, state, now)


def decide_refund(
    command: c.RefundDebit, state: AccountState | None, before: Refunded | None, now: datetime
) -> tuple[ValueClaimed, tuple[e.AccountEvent, ...], AccountState]:
    """The claim of the message, which must be stored in the same commit, the account's events,
    and its state after them.

    before: what shows that the message was refunded before, if anything does.
    Raises AlreadyRefunded, MessageNotFound, InvalidAmount, InvalidText.
    """
    claim = claim_refund(command.debit, before, now)
    return claim, *_decide_folded(command, state, now)


def _decide_folded(
    command: c.AccountCommand | c.RefundDebit, state: AccountState | None, now: datetime
) -> tuple[tuple[e.AccountEvent, ...], AccountState]:
    assert state is not None, "the account is opened before anything else happens to it"
    expired = expire_grants(state, now)
    state = fold_checked(state, expired)
    decided = _decide(command, state, now)
    state = fold_checked(state, decided)
    # What a settled hold or a refund gave back to a grant whose time has passed.
    returned = expire_grants(state, now)
    state = fold_checked(state, returned)
    return (*expired, *decided, *returned), state


def _decide(
    command: c.AccountCommand | c.RefundDebit, state: AccountState, now: datetime
) -> tuple[e.AccountEvent, ...]:
    match command:
        case c.HoldCredits():
            return _hold(command, state, now)
        case c.CaptureHold():
            return _capture(command, state, now)
        case c.PurchaseCredits():
            return _purchase(command, state, now)
        case c.GrantCredits():
            return (_grant(command, state, now, purchase_id=None),)
        case c.ReleaseHold():
            return _release(_open_hold(state, command.hold_id), state, now, command.reason)
        case c.ExpireHold():
            hold = _open_hold(state, command.hold_id)
            if hold.expires_at > now:
                raise HoldNotExpired(f"hold {hold.hold_id} is open until {hold.expires_at}")
            return _release(hold, state, now, "expired")
        case c.ExpireGrants():
            return ()  # `_decide_folded` has done it, as for every command.
        case c.RefundDebit():
            refunded = refund(command, state, now)
            _check_credit(state, command.amount_micro)
            return (refunded,)
        case c.AdjustCredits():
            return _adjust(command, state, now)
        case c.FreezeAccount():
            return _freeze(command, state, now)
        case c.UnfreezeAccount():
            if not state.frozen:
                return ()
            unfrozen = e.AccountUnfrozen(
                **_next(state, now), user_id=state.user_id, unfrozen_by=command.unfrozen_by
            )
            return (unfrozen,)
        case c.OpenAccount():
            raise AssertionError("handled by decide")
        case _:
            assert_never(command)


def _purchase(
    command: c.PurchaseCredits, state: AccountState, now: datetime
) -> tuple[e.AccountEvent, ...]:
    _check_credit(state, command.amount_micro)
    purchased = e.CreditsPurchased(
        **_next(state, now),
        user_id=state.user_id,
        balance=replace(state.balance, paid_micro=state.balance.paid_micro + command.amount_micro),
        purchase_id=command.purchase_id,
        amount_micro=command.amount_micro,
        package_id=command.package_id,
        development=command.development,
    )
    if not command.bonus_micro:
        return (purchased,)
    bonus = c.GrantCredits(
        grant_id=command.bonus_id,
        amount_micro=command.bonus_micro,
        expires_at=None,
        reason="bonus",
        granted_by=None,
    )
    after = evolve(state, purchased)
    return (purchased, _grant(bonus, after, now, purchase_id=command.purchase_id))


def _grant(
    command: c.GrantCredits, state: AccountState, now: datetime, *, purchase_id: UUID | None
) -> e.CreditsGranted:
    _check_credit(state, command.amount_micro)
    if command.expires_at is not None and check_zone(command.expires_at) <= now:
        raise InvalidAmount("a grant must expire in the future")
    balance = state.balance
    return e.CreditsGranted(
        **_next(state, now),
        user_id=state.user_id,
        balance=replace(
            balance, promotional_micro=balance.promotional_micro + command.amount_micro
        ),
        grant_id=command.grant_id,
        amount_micro=command.amount_micro,
        expires_at=command.expires_at,
        reason=command.reason,
        granted_by=command.granted_by,
        purchase_id=purchase_id,
    )


def _hold(command: c.HoldCredits, state: AccountState, now: datetime) -> tuple[e.AccountEvent, ...]:
    if state.frozen:
        raise AccountIsFrozen("this account is frozen; ask the administrator")
    assert command.amount_micro >= 0, "a hold is never negative"
    assert check_zone(command.expires_at) > now, "a hold expires in the future"
    assert state.hold(command.hold_id) is None, "hold ids are fresh"
    shares = burn(state, command.amount_micro, now)
    return (
        e.CreditsHeld(
            **_next(state, now),
            user_id=state.user_id,
            balance=balance_after(state, shares, held_micro=command.amount_micro),
            hold_id=command.hold_id,
            amount_micro=command.amount_micro,
            shares=shares,
            expires_at=command.expires_at,
            message_id=command.message_id,
            conversation_id=command.conversation_id,
        ),
    )


def _capture(
    command: c.CaptureHold, state: AccountState, now: datetime
) -> tuple[e.AccountEvent, ...]:
    hold = _open_hold(state, command.hold_id)
    assert 0 <= command.amount_micro <= hold.amount_micro, "a capture never exceeds its hold"
    is_whole = command.amount_micro == hold.amount_micro
    spent = hold.shares if is_whole else tuple(first_shares(hold.shares, command.amount_micro))
    rest = subtract_shares(hold.shares, spent)
    return (
        e.CreditsDebited(
            **_next(state, now),
            user_id=state.user_id,
            balance=balance_after(state, rest, held_micro=-hold.amount_micro, give=True),
            hold_id=hold.hold_id,
            amount_micro=command.amount_micro,
            released_micro=hold.amount_micro - command.amount_micro,
            shares=spent,
            message_id=hold.message_id,
            conversation_id=hold.conversation_id,
            model=command.model,
            price=command.price,
            prompt_tokens=command.prompt_tokens,
            completion_tokens=command.completion_tokens,
        ),
    )


def _release(
    hold: Hold, state: AccountState, now: datetime, reason: str
) -> tuple[e.AccountEvent, ...]:
    released = e.HoldReleased(
        **_next(state, now),
        user_id=state.user_id,
        balance=balance_after(state, hold.shares, held_micro=-hold.amount_micro, give=True),
        hold_id=hold.hold_id,
        amount_micro=hold.amount_micro,
        message_id=hold.message_id,
        reason=reason,
    )
    return (released,)


def _adjust(
    command: c.AdjustCredits, state: AccountState, now: datetime
) -> tuple[e.AccountEvent, ...]:
    if command.direction is e.Direction.DEBIT:
        _check_amount(command.amount_micro)
        shares = burn(state, command.amount_micro, now)
        balance = balance_after(state, shares, held_micro=0)
    else:
        _check_credit(state, command.amount_micro)
        shares = ()
        paid_micro = state.balance.paid_micro + command.amount_micro
        balance = replace(state.balance, paid_micro=paid_micro)
    adjusted = e.CreditsAdjusted(
        **_next(state, now),
        user_id=state.user_id,
        balance=balance,
        adjustment_id=command.adjustment_id,
        direction=command.direction,
        amount_micro=command.amount_micro,
        shares=shares,
        reason=check_reason(command.reason),
        adjusted_by=command.adjusted_by,
    )
    return (adjusted,)


def _freeze(
    command: c.FreezeAccount, state: AccountState, now: datetime
) -> tuple[e.AccountEvent, ...]:
    reason = check_reason(command.reason)
    if state.frozen:
        return ()
    frozen = e.AccountFrozen(
        **_next(state, now), user_id=state.user_id, reason=reason, frozen_by=command.frozen_by
    )
    return (frozen,)


def _open_hold(state: AccountState, hold_id: UUID) -> Hold:
    hold = state.hold(hold_id)
    if hold is None:
        raise HoldNotOpen(f"hold {hold_id} was captured or released before")
    return hold


def _check_amount(amount_micro: int) -> None:
    if not 0 < amount_micro <= AMOUNT_MICRO_MAX:
        most = format_credits(AMOUNT_MICRO_MAX)
        raise InvalidAmount(f"an amount must be above zero and at most {most} credits")


def _check_credit(state: AccountState, amount_micro: int) -> None:
    _check_amount(amount_micro)
    if state.balance.total_micro + amount_micro > BALANCE_MICRO_MAX:
        most = format_credits(BALANCE_MICRO_MAX)
        raise InvalidAmount(f"an account holds at most {most} credits; add fewer")


def _next(state: AccountState, now: datetime) -> Header:
    return header(state.id, state.version + 1, now)
