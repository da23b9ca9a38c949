"""What must be true of the database after any fault, read from its tables alone.

The log is the truth; whatever else is stored must follow from it.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from application.ledger.mapping import decode_event
from domain.accounts.events import (
    AccountEvent,
    CreditsDebited,
    CreditsHeld,
    CreditsPurchased,
    HoldReleased,
    MoneyEvent,
)
from domain.accounts.invariants import evolve_checked
from domain.accounts.postings import postings
from domain.accounts.state import AccountState
from domain.claims.idempotency import CommandCompleted
from domain.conversations.events import PromptSubmitted, ResponseFailed, ResponseGenerated
from domain.events import Event
from tests.projections.log import comparable, stored_rows, trial_balance_micro
from tests.projections.naive_tables import NaiveTables

CAUGHT_UP_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Ledger:
    """The whole log, folded. The keys of the dicts are the answers' message ids."""

    events: list[tuple[int, Event]]
    accounts: dict[UUID, AccountState] = field(default_factory=dict)
    prompts: dict[UUID, PromptSubmitted] = field(default_factory=dict)
    answers: dict[UUID, ResponseGenerated] = field(default_factory=dict)
    failures: dict[UUID, ResponseFailed] = field(default_factory=dict)
    holds: dict[UUID, CreditsHeld] = field(default_factory=dict)
    debits: dict[UUID, CreditsDebited] = field(default_factory=dict)
    releases: dict[UUID, HoldReleased] = field(default_factory=dict)
    purchases: list[CreditsPurchased] = field(default_factory=list)
    completed: Counter[UUID] = field(default_factory=Counter)

    def of_user(self, user_id: UUID) -> AccountState:
        return next(state for state in self.accounts.values() if state.user_id == user_id)

    def answers_under(self, claim_id: UUID) -> list[ResponseGenerated]:
        """The answers to messages that were sent under one idempotency key."""
        return [
            self.answers[response_id]
            for response_id, prompt in self.prompts.items()
            if prompt.idempotency_claim_id == claim_id and response_id in self.answers
        ]


def audit(service_url: str) -> Ledger:
    """Checks the log, and that every read model equals a replay of it. No command may be under way.
    Raises AssertionError."""
    ledger = Ledger(events=list(_log(service_url)))
    _fold(ledger)
    _check_settlements(ledger)
    _check_read_models(ledger, service_url)
    return ledger


async def caught_up(service_url: str, timeout_s: float = CAUGHT_UP_TIMEOUT_S) -> float:
    """Waits until every projection has the whole log; returns how many seconds that took."""
    clock = asyncio.get_running_loop().time
    began = clock()
    while (behind := _behind(service_url)) != 0:
        assert clock() - began < timeout_s, f"the read models stay {behind} positions behind"
        await asyncio.sleep(0.05)
    return clock() - began


def _behind(service_url: str) -> int:
    with psycopg.connect(service_url) as connection:
        row = connection.execute(
            "SELECT (SELECT coalesce(max(notification_id), 0) FROM ledger.ledger_events)"
            " - (SELECT min(position) FROM read.positions)"
        ).fetchone()
    assert row is not None
    return int(row[0])


def _log(service_url: str) -> Iterator[tuple[int, Event]]:
    with _rows(service_url) as connection:
        for row in connection.execute(
            "SELECT notification_id, topic, originator_id, originator_version, state"
            " FROM ledger.ledger_events ORDER BY notification_id"
        ):
            position = row.pop("notification_id")
            yield position, decode_event(**{**row, "state": bytes(row["state"])})


@contextmanager
def _rows(service_url: str) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    with psycopg.connect(service_url, row_factory=dict_row) as connection:
        yield connection


def _fold(ledger: Ledger) -> None:
    """Also checks that no stream has a gap, that each balance in an event is the fold's, and that
    nothing that may happen once has happened twice."""
    versions: dict[UUID, int] = defaultdict(int)
    for _, event in ledger.events:
        assert event.originator_version == versions[event.originator_id] + 1, event
        versions[event.originator_id] += 1
        if isinstance(event, AccountEvent):
            before = ledger.accounts.get(event.originator_id)
            after = evolve_checked(before, event)
            assert after.balance.available_micro >= 0
            ledger.accounts[event.originator_id] = after
        match event:
            case PromptSubmitted():
                _once(ledger.prompts, event.response_id, event)
            case ResponseGenerated():
                _once(ledger.answers, event.response_id, event)
            case ResponseFailed():
                _once(ledger.failures, event.response_id, event)
            case CreditsHeld():
                _once(ledger.holds, event.message_id, event)
            case CreditsDebited():
                _once(ledger.debits, event.message_id, event)
            case HoldReleased():
                _once(ledger.releases, event.message_id, event)
            case CreditsPurchased():
                ledger.purchases.append(event)
            case CommandCompleted():
                ledger.completed[event.originator_id] += 1
            case _:
                pass
    assert all(count == 1 for count in ledger.completed.values())


def _once(found: dict[UUID, Any], message_id: UUID, event: Event) -> None:
    assert message_id not in found, f"twice: {found.get(message_id)} and {event}"
    found[message_id] = event


def _check_settlements(ledger: Ledger) -> None:
    """Every answer has its debit, every debit its answer, and every prompt exactly one end."""
    assert set(ledger.debits) == set(ledger.answers), "an answer exactly where a debit is"
    assert set(ledger.releases) == set(ledger.failures), "a failure exactly where a release is"
    assert set(ledger.holds) == set(ledger.prompts), "a prompt exactly where a hold is"
    assert not set(ledger.answers) & set(ledger.failures), "answered and failed"
    assert set(ledger.answers) | set(ledger.failures) == set(ledger.prompts), "a hold is left"
    assert all(not state.holds for state in ledger.accounts.values()), "a hold is left"
    for message_id, debit in ledger.debits.items():
        assert debit.amount_micro == ledger.answers[message_id].cost_micro
        assert debit.hold_id == ledger.holds[message_id].hold_id


def _check_read_models(ledger: Ledger, service_url: str) -> None:
    assert trial_balance_micro(service_url) == 0
    stored = stored_rows(service_url)
    assert comparable(stored) == comparable(NaiveTables().fold(ledger.events).tables)
    assert stored["open_holds"] == []
    assert [row for row in stored["messages"] if row["status"] == "pending"] == []
    assert [row for row in stored["receipts"] if row["status"] == "open"] == []
    balances = {row["account_id"]: row for row in stored["balances"]}
    assert set(balances) == set(ledger.accounts)
    for account_id, state in ledger.accounts.items():
        row = balances[account_id]
        assert row["paid_micro"] == state.balance.paid_micro
        assert row["promotional_micro"] == state.balance.promotional_micro
        assert row["held_micro"] == 0
    _check_journal(ledger, stored["journal"])


def _check_journal(ledger: Ledger, journal: list[dict[str, Any]]) -> None:
    """Debits and credits are equal at every position, and every user's account in the journal is
    what the account's fold says."""
    by_position: Counter[int] = Counter()
    by_account: Counter[str] = Counter()
    for row in journal:
        signed_micro = row["amount_micro"] if row["direction"] == "credit" else -row["amount_micro"]
        by_position[row["position"]] += signed_micro
        by_account[row["account"]] += signed_micro
    assert not any(by_position.values())
    moving = {
        position
        for position, event in ledger.events
        if isinstance(event, MoneyEvent) and postings(event)
    }
    assert set(by_position) == moving
    for state in ledger.accounts.values():
        available_micro = by_account[f"user:{state.user_id}:available"]
        assert available_micro == state.balance.available_micro
        assert by_account[f"user:{state.user_id}:held"] == state.balance.held_micro
