"""Given these events, then these rows."""

from datetime import date, datetime, timedelta, timezone

from application.read_models import MessageRole, MessageStatus, ReceiptStatus, TransactionType
from domain.accounts import commands as a
from domain.accounts.events import Direction
from domain.users import commands as u
from domain.users.events import UserRole
from tests.projections.naive_tables import NaiveTables
from tests.projections.random_history import RandomHistory
from tests.projections.story import CREDIT, NOW, Story, an_id


def summary(story: Story) -> list[tuple[str, int, int, str]]:
    """Type, amount and balance afterwards in credits, and description of each transaction."""
    return [
        (
            row["type"],
            row["amount_micro"] // CREDIT,
            row["balance_after_micro"] // CREDIT,
            row["description"],
        )
        for row in story.rows("transactions")
    ]


def test_a_purchase_and_its_bonus_are_two_transactions() -> None:
    assert summary(Story().buys(10, package_id="starter", bonus=3)) == [
        ("purchase", 10, 10, "Package Starter"),
        ("bonus", 3, 13, "Bonus credits"),
    ]


def test_a_grant_is_described_by_its_reason() -> None:
    assert summary(Story().is_granted(5)) == [("grant", 5, 5, "Welcome credits")]
    assert summary(Story().is_granted(5, "for a report")) == [("grant", 5, 5, "for a report")]


def test_a_hold_is_no_transaction_and_its_debit_is_one() -> None:
    story = Story().buys(10).asks(held=3)
    assert len(story.rows("transactions")) == 1
    story.is_answered(cost=2)
    assert summary(story)[1:] == [("debit", -2, 8, "Answer by gemma3-270m")]
    assert story.rows("transactions")[1]["message_id"] == an_id("answer")
    assert story.rows("transactions")[1]["transaction_id"] == an_id("hold")


def test_a_released_hold_leaves_no_transaction() -> None:
    assert len(Story().buys(10).asks().is_let_down().rows("transactions")) == 1


def test_a_free_answer_is_a_transaction_of_zero_without_journal_lines() -> None:
    story = Story().asks(held=0).is_answered(cost=0)
    assert summary(story) == [("debit", 0, 0, "Answer by gemma3-270m")]
    assert story.rows("journal") == []


def test_corrections_are_transactions_in_both_directions() -> None:
    story = Story().buys(10).asks().is_answered().is_refunded("no sense")
    for direction in (Direction.CREDIT, Direction.DEBIT):
        story.account_does(
            a.AdjustCredits(
                adjustment_id=an_id(direction),
                direction=direction,
                amount_micro=4 * CREDIT,
                reason="miscounted",
                adjusted_by=an_id("admin"),
            )
        )
    assert summary(story)[2:] == [
        ("refund", 2, 10, "Refund: no sense"),
        ("adjustment", 4, 14, "Adjustment: miscounted"),
        ("adjustment", -4, 10, "Adjustment: miscounted"),
    ]


def test_a_grant_that_expired_is_taken_back() -> None:
    story = Story().is_granted(5, expires_at=NOW + timedelta(hours=1))
    story.now = NOW + timedelta(hours=2)
    story.account_does(a.ExpireGrants())
    assert summary(story)[1:] == [("expiry", -5, 0, "Granted credits expired")]
    assert [row["unspent_micro"] for row in story.rows("expiring_grants")] == [0]


def test_a_held_grant_counts_as_unspent_until_it_is_spent() -> None:
    story = Story().is_granted(5, expires_at=NOW + timedelta(hours=1)).asks(held=3)
    assert [row["unspent_micro"] for row in story.rows("expiring_grants")] == [5 * CREDIT]
    story.is_answered(cost=2)
    assert [row["unspent_micro"] for row in story.rows("expiring_grants")] == [3 * CREDIT]


def test_a_posting_debits_its_source_and_credits_its_destination() -> None:
    lines = [
        (row["position"], row["line"], row["direction"], row["account"], row["amount_micro"])
        for row in Story().buys(10).asks(held=3).is_answered(cost=2).rows("journal")
    ]
    available, held = (f"user:{an_id('user')}:{part}" for part in ("available", "held"))
    assert lines == [
        (2, 1, "debit", "issuance:paid", 10 * CREDIT),
        (2, 2, "credit", available, 10 * CREDIT),
        (3, 1, "debit", available, 3 * CREDIT),
        (3, 2, "credit", held, 3 * CREDIT),
        (6, 1, "debit", held, 2 * CREDIT),
        (6, 2, "credit", "revenue:usage", 2 * CREDIT),
        (6, 3, "debit", held, 1 * CREDIT),
        (6, 4, "credit", available, 1 * CREDIT),
    ]


def test_a_prompt_is_pending_then_answered() -> None:
    story = Story().buys(10).asks()
    assert _statuses(story) == {"prompt": "pending", "answer": "pending"}
    story.is_answered()
    assert _statuses(story) == {"prompt": "answered", "answer": "answered"}
    conversation = story.rows("conversations")[0]
    assert (conversation["title"], conversation["message_count"]) == ("Why?", 2)


def test_a_prompt_whose_answer_failed_stays_alone() -> None:
    assert _statuses(Story().buys(10).asks().is_let_down()) == {"prompt": "failed"}


def test_a_deleted_conversation_stays_gone_when_its_last_answer_lands() -> None:
    story = Story().buys(10).asks().deletes()
    assert story.rows("messages") == story.rows("conversations") == []
    story.is_answered()
    assert story.rows("messages") == story.rows("conversations") == []
    assert summary(story)[-1] == ("debit", -2, 8, "Answer by gemma3-270m")
    assert [row["status"] for row in story.rows("receipts")] == ["charged"]


def test_usage_counts_paid_answers_by_day_in_utc() -> None:
    story = Story().buys(10)
    # Half past midnight on the second, one hour east of UTC, is still the first in UTC.
    story.now = datetime(2026, 3, 2, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    story.asks().is_answered()
    assert story.rows("usage") == [
        {
            "day": date(2026, 3, 1),
            "user_id": an_id("user"),
            "model": "gemma3-270m",
            "answers": 1,
            "prompt_tokens": 4,
            "completion_tokens": 6,
            "charged_micro": 2 * CREDIT,
        }
    ]


def test_a_user_row_follows_role_and_suspension_and_holds_no_password() -> None:
    story = Story()
    for command in (
        u.RegisterUser(
            user_id=story.user_id, username="ada", email="ada@example.com", password_hash="secret"
        ),
        u.AssignRole(role=UserRole.ADMIN, assigned_by=None),
        u.SuspendUser(reason="a check", suspended_by=an_id("admin")),
    ):
        story.events += story.for_user(NOW, command)
    (row,) = story.rows("users")
    assert (row["username"], row["role"], row["suspended"]) == ("ada", "admin", True)
    assert "secret" not in row.values()


def test_rows_use_the_words_that_queries_know() -> None:
    history = RandomHistory(1)
    events = [event for commit in history.commits(500) for event in commit]
    tables = NaiveTables().fold(enumerate(events, start=1)).tables
    for table, column, words in (
        ("transactions", "type", TransactionType),
        ("messages", "role", MessageRole),
        ("messages", "status", MessageStatus),
        ("receipts", "status", ReceiptStatus),
    ):
        assert {row[column] for row in tables[table]} == set(words), (table, column)


def _statuses(story: Story) -> dict[str, str]:
    names = {an_id(name): name for name in ("prompt", "answer")}
    return {names[row["message_id"]]: row["status"] for row in story.rows("messages")}
