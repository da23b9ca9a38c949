"""One user's life, told command by command."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from domain.accounts import commands as a
from domain.accounts.events import CreditsDebited
from domain.conversations import commands as c
from domain.events import Event
from domain.identifiers import NAMESPACE, account_id
from domain.pricing.price import Price, per_message
from tests.projections.naive_tables import NaiveRow, NaiveTables
from tests.projections.people import Person

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CREDIT = 1_000_000


def an_id(name: str) -> UUID:
    return uuid5(NAMESPACE, f"projections:{name}")


class Story(Person):
    """Commands of one user, one after the other, and the rows that come of them."""

    def __init__(self) -> None:
        super().__init__(an_id("user"))
        self.events: list[Event] = []
        self.now = NOW
        self.account_does(a.OpenAccount(account_id=account_id(self.user_id), user_id=self.user_id))

    def account_does(self, command: a.AccountCommand) -> "Story":
        self.events += self.for_account(self.now, command)
        return self

    def conversation_does(self, command: c.ConversationCommand) -> "Story":
        self.events += self.for_conversation(self.now, an_id("conversation"), command)
        return self

    def rows(self, table: str) -> list[NaiveRow]:
        return NaiveTables().fold(enumerate(self.events, start=1)).tables[table]

    def buys(self, amount: int, package_id: str | None = None, bonus: int = 0) -> "Story":
        return self.account_does(
            a.PurchaseCredits(
                purchase_id=an_id("purchase"),
                amount_micro=amount * CREDIT,
                bonus_id=an_id("bonus"),
                bonus_micro=bonus * CREDIT,
                package_id=package_id,
                development=False,
            )
        )

    def is_granted(
        self, amount: int, reason: str = "welcome", expires_at: datetime | None = None
    ) -> "Story":
        return self.account_does(
            a.GrantCredits(
                grant_id=an_id("grant"),
                amount_micro=amount * CREDIT,
                expires_at=expires_at,
                reason=reason,
                granted_by=None,
            )
        )

    def asks(self, held: int = 2) -> "Story":
        self.account_does(
            a.HoldCredits(
                hold_id=an_id("hold"),
                amount_micro=held * CREDIT,
                expires_at=self.now + timedelta(minutes=10),
                message_id=an_id("answer"),
                conversation_id=an_id("conversation"),
            )
        )
        return self.conversation_does(
            c.SubmitPrompt(
                conversation_id=an_id("conversation"),
                user_id=self.user_id,
                prompt_id=an_id("prompt"),
                response_id=an_id("answer"),
                hold_id=an_id("hold"),
                idempotency_claim_id=None,
                text="Why?",
                model="gemma3-270m",
                max_tokens=10,
                temperature=0.0,
                top_p=1.0,
                seed=None,
            )
        )

    def is_answered(self, cost: int = 2) -> "Story":
        price: Price = per_message(cost * CREDIT)
        self.account_does(
            a.CaptureHold(
                hold_id=an_id("hold"),
                amount_micro=cost * CREDIT,
                model="gemma3-270m",
                price=price,
                prompt_tokens=4,
                completion_tokens=6,
            )
        )
        return self.conversation_does(
            c.RecordResponse(
                user_id=self.user_id,
                response_id=an_id("answer"),
                text="Because.",
                model="gemma3-270m",
                manifest_hash="ab",
                computed_on="CPU",
                finish_reason="stop",
                prompt_tokens=4,
                completion_tokens=6,
                turns_dropped=0,
                seed=None,
                price=price,
                cost_micro=cost * CREDIT,
                cached=False,
                latency_ms=12,
            )
        )

    def is_let_down(self) -> "Story":
        self.account_does(a.ReleaseHold(hold_id=an_id("hold"), reason="failed"))
        return self.conversation_does(
            c.RecordFailure(user_id=self.user_id, response_id=an_id("answer"), reason="failed")
        )

    def deletes(self) -> "Story":
        return self.conversation_does(c.DeleteConversation(user_id=self.user_id))

    def is_refunded(self, reason: str) -> "Story":
        """The last debit, whole."""
        debit = [event for event in self.events if isinstance(event, CreditsDebited)][-1]
        self.events += self.refund(
            self.now,
            a.RefundDebit(
                refund_id=an_id("refund"),
                debit=debit,
                amount_micro=debit.amount_micro,
                reason=reason,
                refunded_by=an_id("admin"),
            ),
        )
        return self
