"""A price per token: the hold covers the most that the answer can cost."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from application.chat.answer import Answer
from domain.credits import MICRO_PER_CREDIT
from domain.errors import InsufficientCredits
from domain.pricing.price import Price, per_message, per_token
from tests.application.world import World, message, outcome_of
from tests.support.scripted_engine import Pause, script
from tests.support.servers import DatabaseUrls

# 0.1 credits for a prompt token, 1 credit for a completion token.
PER_TOKEN = per_token(prompt_micro_per_1000=100 * 10**6, completion_micro_per_1000=1000 * 10**6)
# "One two" with the template: five tokens.
PROMPT_MICRO = 500_000


@pytest.fixture
async def priced(migrated: DatabaseUrls) -> AsyncIterator[World]:
    """Users with ten credits, and answers that are paid for by the token."""
    opened = World(migrated, price=PER_TOKEN)
    yield opened
    await opened.close()
    opened.check_books()


async def test_the_most_is_held_and_what_is_not_used_goes_back(priced: World) -> None:
    user_id = await priced.a_user()
    pause = Pause()
    priced.scripted.script_next(script("Three ", pause, "four."))

    run = await priced.send(user_id, "One two", max_tokens=6)
    await pause.reached()
    assert (await priced.balance(user_id)).held_micro == PROMPT_MICRO + 6 * MICRO_PER_CREDIT
    pause.go_on()
    answer = await run.answer()

    assert answer.cost_micro == PROMPT_MICRO + 2 * MICRO_PER_CREDIT
    balance = await priced.balance(user_id)
    assert (balance.available_micro, balance.held_micro) == (7_500_000, 0)


async def test_a_small_balance_shortens_the_answer_instead_of_refusing_it(priced: World) -> None:
    user_id = await priced.a_user()
    priced.scripted.script_next(script(*["word "] * 50))

    answer = await priced.ask(user_id, "One two")

    assert (answer.completion_tokens, answer.finish_reason) == (9, "length")
    assert answer.cost_micro == 9_500_000
    assert (await priced.balance(user_id)).available_micro == 500_000


async def test_who_cannot_pay_for_one_token_is_refused_and_told_the_least(priced: World) -> None:
    user_id = await priced.a_user()
    priced.scripted.script_next(script(*["word "] * 50))
    await priced.ask(user_id, "One two")

    refused = await outcome_of(priced.ask(user_id, "One two"))

    assert isinstance(refused, InsufficientCredits)
    assert (refused.available_micro, refused.required_micro) == (500_000, 1_500_000)


async def test_a_part_of_an_answer_is_paid_for_by_its_tokens(priced: World) -> None:
    user_id = await priced.a_user()
    pause = Pause()
    priced.scripted.script_next(script("Three ", "four ", pause, "five."))

    run = await priced.send(user_id, "One two", max_tokens=6)
    await pause.reached()
    run.cancel()
    answer = await run.answer()

    assert (answer.response, answer.completion_tokens) == ("Three four", 2)
    assert answer.cost_micro == PROMPT_MICRO + 2 * MICRO_PER_CREDIT


async def test_messages_at_once_never_hold_more_than_there_is(priced: World) -> None:
    user_id = await priced.a_user()

    outcomes = await asyncio.gather(
        *(outcome_of(priced.ask(user_id, "One two", max_tokens=4)) for _ in range(12))
    )

    assert all(isinstance(outcome, Answer | InsufficientCredits) for outcome in outcomes)
    cost_micro = sum(outcome.cost_micro for outcome in outcomes if isinstance(outcome, Answer))
    balance = await priced.balance(user_id)
    assert (balance.available_micro, balance.held_micro) == (10_000_000 - cost_micro, 0)


async def test_a_quote_is_what_would_be_held_if_it_can_be_paid(priced: World) -> None:
    user_id = await priced.a_user()

    quote = await priced.chat.quote(message(user_id, "One two", max_tokens=6))

    assert (quote.prompt_tokens, quote.max_tokens) == (5, 6)
    assert quote.cost_micro_max == PROMPT_MICRO + 6 * MICRO_PER_CREDIT


@pytest.mark.parametrize(
    ("price", "cost_micro"),
    [
        (per_message(0), 0),
        (per_token(prompt_micro_per_1000=0, completion_micro_per_1000=0), 0),
        (per_token(prompt_micro_per_1000=0, completion_micro_per_1000=1), 1),
        (per_token(prompt_micro_per_1000=1, completion_micro_per_1000=0), 1),
    ],
)
async def test_the_smallest_prices_are_exact(
    migrated: DatabaseUrls, price: Price, cost_micro: int
) -> None:
    cheap = World(migrated, price=price)
    user_id = await cheap.a_user()

    answer = await cheap.ask(user_id, "One two")

    assert answer.cost_micro == cost_micro
    assert (await cheap.balance(user_id)).available_micro == 10_000_000 - cost_micro
    await cheap.close()
    cheap.check_books()


async def test_a_free_message_is_answered_although_nothing_is_left(migrated: DatabaseUrls) -> None:
    free = World(migrated, price=per_message(0), welcome_micro=0)
    user_id = await free.a_user()

    assert (await free.ask(user_id)).cost_micro == 0

    await free.close()
    free.check_books()
