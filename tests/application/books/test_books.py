"""What the books say of a life, held against counting by hand."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest

from application.books.posted import ALL_TIME, Period, posted
from application.books.statements import Statement, statement
from application.books.trial_balance import USERS_AVAILABLE, USERS_HELD, TrialBalance
from domain.accounts.events import AccountEvent, CreditsDebited, MoneyEvent
from domain.accounts.postings import ISSUANCE_PAID, REVENUE_USAGE
from domain.accounts.state import AccountState, evolve
from domain.events import Event
from tests.projections.random_history import RandomHistory
from tests.projections.story import CREDIT, NOW, Story, an_id

Numbered = Sequence[tuple[int, Event]]


def log_of(seed: int, commits: int = 300) -> list[tuple[int, Event]]:
    events = [event for commit in RandomHistory(seed).commits(commits) for event in commit]
    return list(enumerate(events, start=1))


def trial_balance(log: Numbered, period: Period = ALL_TIME) -> TrialBalance:
    books = TrialBalance(period)
    for position, event in log:
        books.add(position, event)
    return books


def accounts_at(log: Numbered, until: datetime) -> dict[UUID, AccountState]:
    """By the domain's own fold."""
    states: dict[UUID, AccountState] = {}
    for _, event in log:
        if isinstance(event, AccountEvent) and event.timestamp < until:
            states[event.originator_id] = evolve(states.get(event.originator_id), event)
    return {state.user_id: state for state in states.values()}


def own(log: Numbered, user_id: UUID) -> list[tuple[int, Event]]:
    return [(p, e) for p, e in log if isinstance(e, AccountEvent) and e.user_id == user_id]


@pytest.mark.parametrize("seed", range(5))
def test_the_trial_balance_is_zero_and_its_users_hold_what_their_accounts_fold_to(
    seed: int,
) -> None:
    log = log_of(seed)
    for until in (log[len(log) // 2][1].timestamp, datetime.max.replace(tzinfo=UTC)):
        books = trial_balance(log, Period(until=until))
        states = accounts_at(log, until)
        classes = {line.name: line for line in books.classes}

        assert books.difference_micro == 0
        assert books.disagreements == ()
        balances = [state.balance for state in states.values()]
        available = sum(balance.available_micro for balance in balances)
        assert classes[USERS_AVAILABLE].balance_micro == available
        assert classes[USERS_HELD].balance_micro == sum(balance.held_micro for balance in balances)
        assert sum(line.balance_micro for line in books.accounts) == 0
        assert sum(line.accounts for line in books.classes) == len(books.accounts)


def test_a_class_adds_its_accounts_and_shows_both_sides() -> None:
    story = Story().buys(10).asks(held=3).is_answered(cost=2)
    books = trial_balance(list(enumerate(story.events, start=1)))

    lines = {
        line.name: (line.debit_micro // CREDIT, line.credit_micro // CREDIT)
        for line in books.classes
    }
    assert lines == {
        ISSUANCE_PAID: (10, 0),
        REVENUE_USAGE: (0, 2),
        USERS_AVAILABLE: (3, 11),
        USERS_HELD: (3, 3),
    }
    assert books.events == 3


def test_an_amount_that_was_changed_on_both_sides_is_found_by_the_balance_in_the_events() -> None:
    story = Story().buys(10).asks(held=3).is_answered(cost=2)
    changed: list[Event] = [
        replace(event, amount_micro=1) if isinstance(event, CreditsDebited) else event
        for event in story.events
    ]

    books = trial_balance(list(enumerate(changed, start=1)))

    (found,) = books.disagreements
    assert books.difference_micro == 0, "the double entry alone does not see it"
    assert found.user_id == an_id("user")
    assert (found.event_held_micro, found.postings_held_micro) == (0, 2 * CREDIT - 1)


def test_a_clock_that_was_set_back_is_no_disagreement() -> None:
    story = Story().buys(10)
    story.now = NOW - timedelta(hours=1)
    story.asks(held=3)
    log = list(enumerate(story.events, start=1))

    books = trial_balance(log, Period(until=NOW))

    assert books.difference_micro == 0
    assert books.disagreements == ()


@pytest.mark.parametrize("seed", range(5))
def test_statements_of_one_period_after_another_carry_the_balance_on(seed: int) -> None:
    log = log_of(seed)
    user_id = next(iter(accounts_at(log, datetime.max.replace(tzinfo=UTC))))
    mine = own(log, user_id)
    third = (mine[-1][1].timestamp - mine[0][1].timestamp) / 3
    bounds = [None, *(mine[0][1].timestamp + third * n for n in (1, 2)), None]
    parts = [
        statement(user_id, Period(since=since, until=until), mine)
        for since, until in pairwise(bounds)
    ]

    whole = statement(user_id, ALL_TIME, mine)

    assert [line for part in parts for line in part.lines] == list(whole.lines)
    assert parts[0].opening.total_micro == 0
    for before, after in pairwise(parts):
        assert before.closing == after.opening
    assert parts[-1].closing == whole.closing
    assert all(part.lines for part in parts), "the periods had something in them"


@pytest.mark.parametrize("seed", range(5))
def test_every_line_ends_where_the_event_says_the_balance_is(seed: int) -> None:
    log = log_of(seed)
    for user_id in accounts_at(log, datetime.max.replace(tzinfo=UTC)):
        mine = own(log, user_id)
        told = statement(user_id, ALL_TIME, mine)
        last = {line.posting.position: line for line in told.lines}
        balances = {p: e.balance for p, e in mine if isinstance(e, MoneyEvent)}
        assert last
        for position, line in last.items():
            assert line.available_micro == balances[position].available_micro
            assert line.held_micro == balances[position].held_micro


def test_a_line_says_what_it_was_for() -> None:
    story = Story().buys(10, package_id="starter").asks(held=3).is_answered(cost=2)
    told = of_story(story)

    assert [(line.posting.what, line.posting.reference) for line in told.lines] == [
        ("Credits bought, package starter", an_id("purchase")),
        ("Held for an answer", an_id("answer")),
        ("Answer by gemma3-270m, 4 + 6 tokens, 2 credits a message", an_id("answer")),
        ("Unused part of the hold given back", an_id("answer")),
    ]


def of_story(story: Story) -> Statement:
    return statement(story.user_id, ALL_TIME, list(enumerate(story.events, start=1)))


def test_every_money_event_has_words() -> None:
    log = [entry for seed in range(3) for entry in log_of(seed)]
    seen = {type(event) for _, event in log if isinstance(event, MoneyEvent)}
    assert seen == set(MoneyEvent.__subclasses__())
    for position, event in log:
        for posting in posted(position, event):
            assert posting.what
