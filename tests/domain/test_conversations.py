"""Given these events, when this command, then these events or this refusal."""

from collections.abc import Iterable
from dataclasses import replace
from functools import reduce

import pytest

from domain.conversations import commands as c
from domain.conversations import events as e
from domain.conversations.decider import decide, title_from_prompt
from domain.conversations.state import EXCHANGES_REMEMBERED_MAX, ConversationState, evolve
from domain.errors import ConversationNotFound, HoldNotOpen, InvalidText
from domain.text import MESSAGE_CHARACTERS_MAX
from tests.domain.given import CONVERSATION, NOW, PRICE, USER, an_id
from tests.domain.given_conversation import DELETE, RENAME, STRANGER, answer, failure, prompt


def folded(
    state: ConversationState | None, events: Iterable[e.ConversationEvent]
) -> ConversationState | None:
    return reduce(evolve, events, state)


def after(*commands: c.ConversationCommand) -> ConversationState:
    state: ConversationState | None = None
    for command in commands:
        state = folded(state, decide(command, state, NOW))
    assert state is not None
    return state


def test_the_first_prompt_starts_the_conversation() -> None:
    started, submitted = decide(prompt("What is a ledger?"), None, NOW)
    assert started == e.ConversationStarted(
        originator_id=CONVERSATION,
        originator_version=1,
        timestamp=NOW,
        user_id=USER,
        title="What is a ledger?",
        model="gemma3-270m",
    )
    assert submitted == e.PromptSubmitted(
        originator_id=CONVERSATION,
        originator_version=2,
        timestamp=NOW,
        user_id=USER,
        prompt_id=an_id("prompt-1"),
        response_id=an_id("response-1"),
        hold_id=an_id("hold-1"),
        idempotency_claim_id=None,
        text="What is a ledger?",
        model="gemma3-270m",
        max_tokens=64,
        temperature=0.7,
        top_p=0.9,
        seed=7,
    )


def test_the_next_prompt_continues_it() -> None:
    (submitted,) = decide(prompt("And then?", "2"), after(prompt(), answer()), NOW)
    assert isinstance(submitted, e.PromptSubmitted)
    assert submitted.originator_version == 4


def test_an_answer_names_its_prompt_and_the_hold_that_pays_for_it() -> None:
    (generated,) = decide(answer(), after(prompt()), NOW)
    assert isinstance(generated, e.ResponseGenerated)
    assert generated.originator_version == 3
    assert generated.prompt_id == an_id("prompt-1")
    assert generated.hold_id == an_id("hold-1")
    assert (generated.text, generated.cost_micro) == ("Hi there", 10_000_000)
    assert generated.price == PRICE


def test_answered_exchanges_are_the_context_of_the_next_prompt() -> None:
    state = after(prompt("one", "1"), answer("un", "1"), prompt("two", "2"), answer("deux", "2"))
    assert [(x.prompt_text, x.response_text) for x in state.answered] == [
        ("one", "un"),
        ("two", "deux"),
    ]
    assert state.open == ()


def test_a_failed_prompt_is_no_context() -> None:
    state = after(prompt("one", "1"), failure("1"), prompt("two", "2"), answer("deux", "2"))
    assert [x.prompt_text for x in state.answered] == ["two"]


def test_answers_to_prompts_sent_side_by_side_land_in_any_order() -> None:
    state = after(prompt("one", "1"), prompt("two", "2"), answer("deux", "2"), answer("un", "1"))
    assert [x.response_text for x in state.answered] == ["deux", "un"]


@pytest.mark.parametrize("first", [answer(), failure()])
@pytest.mark.parametrize("second", [answer(), failure()])
def test_a_prompt_is_answered_or_given_up_once(
    first: c.ConversationCommand, second: c.ConversationCommand
) -> None:
    state = after(prompt(), first)
    with pytest.raises(HoldNotOpen, match="was settled or given up before"):
        decide(second, state, NOW)


@pytest.mark.parametrize("command", [answer(name="2"), failure("2")])
def test_what_was_never_asked_is_not_answered(command: c.ConversationCommand) -> None:
    with pytest.raises(HoldNotOpen):
        decide(command, after(prompt()), NOW)


def test_a_failure_names_its_hold_and_says_why() -> None:
    (failed,) = decide(failure(reason="timeout"), after(prompt()), NOW)
    assert isinstance(failed, e.ResponseFailed)
    assert (failed.hold_id, failed.reason) == (an_id("hold-1"), "timeout")


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_answer_without_text_is_never_billed(text: str) -> None:
    with pytest.raises(AssertionError, match="without text is free"):
        decide(answer(text), after(prompt()), NOW)


def test_an_answer_without_text_is_recorded_and_no_part_of_the_context() -> None:
    empty = replace(answer("", "2"), cost_micro=0)
    state = after(prompt("one"), answer("un"), prompt("two", "2"), empty)
    assert [x.prompt_text for x in state.answered] == ["one"]
    assert state.open == ()
    with pytest.raises(HoldNotOpen):
        decide(empty, state, NOW)


@pytest.mark.parametrize(
    "command",
    [prompt(name="2"), answer(), failure(), RENAME, DELETE],
    ids=lambda command: type(command).__name__,
)
def test_for_anybody_but_its_owner_a_conversation_does_not_exist(
    command: c.ConversationCommand,
) -> None:
    with pytest.raises(ConversationNotFound, match="there is no such conversation"):
        decide(replace(command, user_id=STRANGER), after(prompt()), NOW)


@pytest.mark.parametrize("command", [answer(), failure(), RENAME, DELETE])
def test_only_a_prompt_starts_a_conversation(command: c.ConversationCommand) -> None:
    with pytest.raises(ConversationNotFound):
        decide(command, None, NOW)


@pytest.mark.parametrize("command", [prompt(name="2"), RENAME, DELETE])
def test_a_deleted_conversation_takes_no_commands(command: c.ConversationCommand) -> None:
    with pytest.raises(ConversationNotFound):
        decide(command, after(prompt(), answer(), DELETE), NOW)


def test_an_answer_under_way_lands_in_a_deleted_conversation_because_it_is_paid_for() -> None:
    state = after(prompt(), DELETE)
    (generated,) = decide(answer(), state, NOW)
    assert isinstance(generated, e.ResponseGenerated)
    (failed,) = decide(failure(), state, NOW)
    assert isinstance(failed, e.ResponseFailed)


def test_a_deleted_conversation_forgets_its_text() -> None:
    assert after(prompt(), answer(), DELETE).answered == ()


def test_a_conversation_is_renamed_and_the_same_name_changes_nothing() -> None:
    (renamed,) = decide(RENAME, after(prompt()), NOW)
    assert isinstance(renamed, e.ConversationRenamed)
    assert renamed.title == "Another title"
    same = replace(RENAME, title="  Another title ")
    assert decide(same, after(prompt(), RENAME), NOW) == ()


@pytest.mark.parametrize("title", ["", " ", "two\nlines", "nul\x00", "x" * 121])
def test_a_title_is_one_line_of_at_most_120_characters(title: str) -> None:
    with pytest.raises(InvalidText, match="title"):
        decide(replace(RENAME, title=title), after(prompt()), NOW)


@pytest.mark.parametrize("text", ["", "\n", "\u200b", "a\x00b", "x" * (MESSAGE_CHARACTERS_MAX + 1)])
def test_a_prompt_that_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(InvalidText, match="message") as refusal:
        decide(prompt(text), None, NOW)
    assert refusal.value.field == "message"


def test_a_fold_never_rejects_history_even_where_the_rules_would() -> None:
    state = after(prompt())
    (generated,) = decide(answer(), state, NOW)
    once = evolve(state, generated)
    assert evolve(once, generated) == once


def test_a_response_id_is_used_once() -> None:
    with pytest.raises(AssertionError, match="response ids are fresh"):
        decide(prompt(), after(prompt()), NOW)


def test_the_state_remembers_as_many_exchanges_as_a_model_could_read_and_no_more() -> None:
    state = after(prompt())
    for number in range(EXCHANGES_REMEMBERED_MAX + 3):
        asked = prompt(f"question {number}", f"n{number}")
        for command in (asked, answer(f"answer {number}", f"n{number}")):
            events = decide(command, state, NOW)
            state = reduce(evolve, events, state)
    assert len(state.answered) == EXCHANGES_REMEMBERED_MAX
    assert state.forgotten == 3
    assert state.answered[0].prompt_text == "question 3"
    assert [x.response_id for x in state.open] == [an_id("response-1")]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello", "Hello"),
        ("  two\n lines\tand a tab ", "two lines and a tab"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 59 + "…"),
        ("word " * 20, ("word " * 12)[:59].rstrip() + "…"),
    ],
)
def test_a_title_is_the_first_words_of_the_prompt_on_one_line(text: str, title: str) -> None:
    assert title_from_prompt(text) == title
    assert len(title_from_prompt(text)) <= 60
