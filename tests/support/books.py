"""What must be true of the whole log, whatever happened: every posting balances, every balance is
the fold's, answers and debits name each other, and a debit is refunded once at most."""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import psycopg

from application.ledger.mapping import decode_event
from domain.accounts import events as a
from domain.accounts.invariants import evolve_checked
from domain.accounts.postings import postings
from domain.accounts.state import AccountState
from domain.conversations import events as c
from domain.events import Event


def stored_events(service_url: str) -> list[Event]:
    """Every event of the log, in order."""
    with psycopg.connect(service_url) as connection:
        rows = connection.execute(
            "SELECT topic, originator_id, originator_version, state"
            " FROM ledger.ledger_events ORDER BY notification_id"
        ).fetchall()
    return [
        decode_event(topic=topic, originator_id=stream, originator_version=version, state=state)
        for topic, stream, version, state in rows
    ]


def check_books(events: Sequence[Event], *, holds_open: int = 0) -> None:
    """holds_open: how many answers are still under way."""
    accounts: dict[UUID, AccountState] = {}
    sums_micro: Counter[str] = Counter()
    for event in events:
        if isinstance(event, a.AccountEvent):
            known = accounts.get(event.originator_id)
            accounts[event.originator_id] = evolve_checked(known, event)
            for posting in postings(event):
                assert posting.amount_micro > 0
                sums_micro[posting.source] -= posting.amount_micro
                sums_micro[posting.destination] += posting.amount_micro
    assert sum(sums_micro.values()) == 0, "the trial balance is zero"
    for account in accounts.values():
        balance = account.balance
        assert min(balance.paid_micro, balance.promotional_micro, balance.held_micro) >= 0
        user = f"user:{account.user_id}"
        assert sums_micro[f"{user}:available"] == balance.available_micro
        assert sums_micro[f"{user}:held"] == balance.held_micro
    assert sum(len(account.holds) for account in accounts.values()) == holds_open
    _check_answers(events)
    _check_refunds(events)


def _check_answers(events: Sequence[Event]) -> None:
    """There is an answer for each debit and a debit for each answer."""
    debits = {
        (event.hold_id, event.message_id, event.amount_micro, event.completion_tokens)
        for event in events
        if isinstance(event, a.CreditsDebited)
    }
    answers = {
        (event.hold_id, event.response_id, event.cost_micro, event.completion_tokens)
        for event in events
        if isinstance(event, c.ResponseGenerated)
    }
    assert debits == answers
    released = {event.hold_id for event in events if isinstance(event, a.HoldReleased)}
    failed = {event.hold_id for event in events if isinstance(event, c.ResponseFailed)}
    assert released == failed
    assert not released & {hold_id for hold_id, *_ in debits}, "a hold ends once"


def _check_refunds(events: Sequence[Event]) -> None:
    """Each of a debit before it in the same account, once, and for no more than was charged."""
    debits: dict[UUID, a.CreditsDebited] = {}
    for event in events:
        if isinstance(event, a.CreditsDebited):
            debits[event.message_id] = event
        elif isinstance(event, a.DebitRefunded):
            debit = debits.pop(event.message_id, None)
            assert debit is not None, "a refund is of a debit that was not refunded before"
            assert debit.originator_id == event.originator_id
            # In old logs an answer that cost nothing could be refunded.
            assert min(1, debit.amount_micro) <= event.amount_micro <= debit.amount_micro
