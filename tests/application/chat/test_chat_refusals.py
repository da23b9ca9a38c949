"""Messages that are not answered, and more of them than can be paid."""

import asyncio

import pytest

from application.accounts import load_account
from application.chat.answer import Answer
from application.chat.inference import ModelState
from application.chat.inference_errors import ModelUnavailable, PromptTooLong, UnknownModel
from application.ledger.ledger import Transaction
from application.ledger.streams import ACCOUNT
from domain.accounts.commands import FreezeAccount
from domain.accounts.decider import decide
from domain.conversations.events import PromptSubmitted
from domain.errors import AccountIsFrozen, ConversationNotFound, InsufficientCredits, InvalidText
from domain.identifiers import account_id
from tests.application.world import (
    World,
    outcome_of,
    settled,
    welcome_balance,
)
from tests.support.scripted_engine import MODEL, Pause, script


@pytest.mark.parametrize("text", ["", "  \n\t ", "\u200b", "a\x00b", "\ud800", "x" * 32_001])
async def test_text_that_is_no_message_moves_nothing(world: World, text: str) -> None:
    user_id = await world.a_user()
    before = world.events()

    with pytest.raises(InvalidText):
        await world.ask(user_id, text)

    assert world.events() == before


@pytest.mark.parametrize("model", ["gpt-9", "GEMMA3-270M", "gemma3-270m "])
async def test_an_unknown_model_moves_nothing(world: World, model: str) -> None:
    user_id = await world.a_user()
    before = world.events()

    with pytest.raises(UnknownModel, match=MODEL):
        await world.ask(user_id, model=model)

    assert world.events() == before


async def test_a_model_that_is_not_ready_moves_nothing(world: World) -> None:
    user_id = await world.a_user()
    before = world.events()
    world.scripted.state = ModelState.FAILED

    with pytest.raises(ModelUnavailable):
        await world.ask(user_id)

    assert world.events() == before


async def test_a_message_longer_than_the_window_moves_nothing(world: World) -> None:
    user_id = await world.a_user()
    before = world.events()

    with pytest.raises(PromptTooLong):
        await world.ask(user_id, "word " * 300)

    assert world.events() == before


async def test_the_conversations_of_others_are_not_there(world: World) -> None:
    owner, stranger = await world.a_user(), await world.a_user()
    answer = await world.ask(owner)
    before = world.events()

    for conversation_id in (
        answer.conversation_id,
        world.ids.new_id(),
        stranger,
        account_id(stranger),
    ):
        with pytest.raises(ConversationNotFound):
            await world.ask(stranger, conversation_id=conversation_id)

    assert world.events() == before


async def test_a_deleted_conversation_takes_no_message_but_gets_its_answer(world: World) -> None:
    user_id = await world.a_user()
    pause = Pause()
    world.scripted.script_next(script("Forty ", pause, "two."))
    run = await world.send(user_id)
    await pause.reached()
    conversation_id = run.started.conversation_id

    await world.conversations.delete(conversation_id=conversation_id, user_id=user_id)
    pause.go_on()

    assert isinstance(await settled(run), Answer)
    with pytest.raises(ConversationNotFound):
        await world.ask(user_id, conversation_id=conversation_id)
    with pytest.raises(ConversationNotFound):
        await world.conversations.rename(
            conversation_id=conversation_id, user_id=user_id, title="Back"
        )


async def test_two_messages_in_one_conversation_at_once_are_both_answered(world: World) -> None:
    user_id = await world.a_user()
    first = await world.ask(user_id, "One")

    answers = await asyncio.gather(
        *(
            world.ask(user_id, text, conversation_id=first.conversation_id)
            for text in ("Two", "Three")
        )
    )

    assert {answer.conversation_id for answer in answers} == {first.conversation_id}
    state = await world.conversation(first.conversation_id)
    assert len(state.answered) == 3
    assert state.open == ()


@pytest.mark.parametrize("processes", [1, 2])
async def test_thirty_messages_at_once_where_five_can_be_paid(world: World, processes: int) -> None:
    other = world.beside() if processes == 2 else world
    user_id = await world.a_user()

    outcomes = await asyncio.gather(
        *(outcome_of(here.ask(user_id)) for here in [world, other] * 15)
    )
    if other is not world:
        await other.close()

    refused = [outcome for outcome in outcomes if isinstance(outcome, InsufficientCredits)]
    answered = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    assert (len(answered), len(refused)) == (5, 25)
    assert await world.balance(user_id) == welcome_balance(0)
    assert {error.required_micro for error in refused} == {2_000_000}
    assert sum(isinstance(event, PromptSubmitted) for event in world.events()) == 5


async def test_a_frozen_account_takes_no_message_but_settles_what_is_under_way(
    world: World,
) -> None:
    user_id = await world.a_user()
    pause = Pause()
    world.scripted.script_next(script("Forty ", pause, "two."))
    run = await world.send(user_id)
    await pause.reached()

    def freeze(transaction: Transaction) -> None:
        command = FreezeAccount(reason="under review", frozen_by=user_id)
        account = load_account(transaction, user_id)
        transaction.add(ACCOUNT, *decide(command, account, world.clock.now()))

    await world.ledger.transact(freeze)

    with pytest.raises(AccountIsFrozen):
        await world.ask(user_id)
    pause.go_on()
    assert isinstance(await settled(run), Answer)
