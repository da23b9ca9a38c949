"""The words that the specifications of credit accounts are written in.

account = Account.with_events_of(purchase(10), grant(5, expires_at=in_days(1)))
held, = account.when(hold(12))
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from domain.accounts import commands as c
from domain.accounts import events as e
from domain.accounts.decider import decide, decide_folded, decide_refund
from domain.accounts.postings import postings
from domain.accounts.state import AccountState, evolve
from domain.claims.uniqueness import ClaimState
from domain.claims.uniqueness import evolve as evolve_claim
from domain.credits import MICRO_PER_CREDIT
from domain.identifiers import NAMESPACE, refund_claim_id
from domain.pricing.price import per_message

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PRICE = per_message(10 * MICRO_PER_CREDIT)


def in_days(days: float) -> datetime:
    return NOW + timedelta(days=days)


def an_id(name: str) -> UUID:
    """The same name is the same id, in every test."""
    return uuid5(NAMESPACE, f"test:{name}")


def micro(amount: float) -> int:
    """Micro-credits; test amounts are small enough to be exact."""
    return round(amount * MICRO_PER_CREDIT)


HELD_UNTIL = in_days(10)
USER = an_id("user")
ADMIN = an_id("admin")
ACCOUNT = an_id("account")
AnyCommand = c.AccountCommand | c.RefundDebit
CONVERSATION = an_id("conversation")


class Account:
    """A stream of events and its fold, with the claims of its refunds. Every event is checked as
    it is appended: its version is the next one, the balance it carries is the fold's, and its
    postings explain the change."""

    def __init__(self) -> None:
        self.events: list[e.AccountEvent] = []
        self.state: AccountState | None = None
        self.claims: dict[UUID, ClaimState] = {}

    @classmethod
    def with_events_of(cls, *commands: AnyCommand, at: datetime = NOW) -> "Account":
        account = cls()
        account.when(c.OpenAccount(account_id=ACCOUNT, user_id=USER), at=at)
        for command in commands:
            account.when(command, at=at)
        return account

    def when(self, command: AnyCommand, *, at: datetime = NOW) -> tuple[e.AccountEvent, ...]:
        if isinstance(command, c.RefundDebit):
            return self._refund(command, at)
        before = self.state
        events = decide(command, before, at)
        for event in events:
            self._append(event)
        if before is not None:
            # What the decider says the events lead to is what they lead to.
            assert decide_folded(command, before, at) == (events, self.state)
        return events

    def _refund(self, command: c.RefundDebit, at: datetime) -> tuple[e.AccountEvent, ...]:
        claim_id = refund_claim_id(command.debit.message_id)
        claim, events, after = decide_refund(command, self.state, self.claims.get(claim_id), at)
        assert (claim.originator_id, claim.originator_version) == (claim_id, 1)
        self.claims[claim_id] = evolve_claim(None, claim)
        for event in events:
            self._append(event)
        assert after == self.state
        return events

    @property
    def opened(self) -> AccountState:
        assert self.state is not None
        return self.state

    @property
    def balance(self) -> e.Balance:
        return self.opened.balance

    def free_in(self, bucket_name: str) -> int:
        """Micro-credits free in the bucket; 0 when there is no such bucket."""
        bucket_id = an_id(bucket_name)
        return sum(b.free_micro for b in self.opened.buckets if b.bucket_id == bucket_id)

    def _append(self, event: e.AccountEvent) -> None:
        before = self.state
        self.state = evolve(before, event)
        self.events.append(event)
        assert event.originator_version == len(self.events)
        if before is None or not isinstance(event, e.MoneyEvent):
            assert postings(event) == ()
            return
        assert event.balance == self.state.balance
        change = {f"user:{USER}:available": 0, f"user:{USER}:held": 0}
        for posting in postings(event):
            assert posting.amount_micro > 0
            for name, sign in ((posting.source, -1), (posting.destination, 1)):
                if name in change:
                    change[name] += sign * posting.amount_micro
        assert change == {
            f"user:{USER}:available": event.balance.available_micro
            - before.balance.available_micro,
            f"user:{USER}:held": event.balance.held_micro - before.balance.held_micro,
        }


def purchase(amount: float, name: str = "purchase", *, bonus: float = 0) -> c.PurchaseCredits:
    return c.PurchaseCredits(
        purchase_id=an_id(name),
        amount_micro=micro(amount),
        bonus_id=an_id(f"{name}-bonus"),
        bonus_micro=micro(bonus),
        package_id=None,
        development=True,
    )


def grant(
    amount: float, name: str = "grant", *, expires_at: datetime | None = None
) -> c.GrantCredits:
    return c.GrantCredits(
        grant_id=an_id(name),
        amount_micro=micro(amount),
        expires_at=expires_at,
        reason="welcome",
        granted_by=None,
    )


def hold(amount: float, name: str = "hold", *, expires_at: datetime = HELD_UNTIL) -> c.HoldCredits:
    return c.HoldCredits(
        hold_id=an_id(name),
        amount_micro=micro(amount),
        expires_at=expires_at,
        message_id=an_id(f"{name}-message"),
        conversation_id=CONVERSATION,
    )


def capture(amount: float, name: str = "hold") -> c.CaptureHold:
    return c.CaptureHold(
        hold_id=an_id(name),
        amount_micro=micro(amount),
        model="gemma3-270m",
        price=PRICE,
        prompt_tokens=7,
        completion_tokens=11,
    )


def release(name: str = "hold", reason: str = "failed") -> c.ReleaseHold:
    return c.ReleaseHold(hold_id=an_id(name), reason=reason)


def expire_hold(name: str = "hold") -> c.ExpireHold:
    return c.ExpireHold(hold_id=an_id(name))


def refund_of(
    event: e.AccountEvent, name: str = "refund", *, amount: float | None = None
) -> c.RefundDebit:
    """Of everything where no amount is named."""
    assert isinstance(event, e.CreditsDebited)
    return c.RefundDebit(
        refund_id=an_id(name),
        debit=event,
        amount_micro=event.amount_micro if amount is None else micro(amount),
        reason="a wrong answer",
        refunded_by=ADMIN,
    )


def adjust(direction: e.Direction, amount: float, name: str = "adjustment") -> c.AdjustCredits:
    return c.AdjustCredits(
        adjustment_id=an_id(name),
        direction=direction,
        amount_micro=micro(amount),
        reason="a correction",
        adjusted_by=ADMIN,
    )


FREEZE = c.FreezeAccount(reason="under review", frozen_by=ADMIN)
UNFREEZE = c.UnfreezeAccount(unfrozen_by=ADMIN)
