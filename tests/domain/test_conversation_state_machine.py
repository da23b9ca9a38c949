"""Random conversations, held against a list of what was asked and a list of what was answered."""

from dataclasses import replace
from functools import reduce

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
)

from domain.conversations import commands as c
from domain.conversations import events as e
from domain.conversations.decider import decide
from domain.conversations.state import ConversationState, evolve
from domain.errors import ConversationNotFound, HoldNotOpen, Refusal
from tests.domain.given import NOW, an_id
from tests.domain.given_conversation import DELETE, STRANGER, answer, failure, prompt


class ConversationLife(RuleBasedStateMachine):
    prompts: Bundle[str] = Bundle("prompts")

    def __init__(self) -> None:
        super().__init__()
        self.events: list[e.ConversationEvent] = []
        self.state: ConversationState | None = None
        self.asked: list[str] = []
        self.answered: list[str] = []
        self.failed: list[str] = []
        self.context: list[str] = []
        self.deleted = False

    def accepted(self, command: c.ConversationCommand) -> None:
        events = decide(command, self.state, NOW)
        self.events.extend(events)
        self.state = reduce(evolve, events, self.state)

    def refused(self, command: c.ConversationCommand, refusal: type[Refusal]) -> None:
        with pytest.raises(refusal):
            decide(command, self.state, NOW)

    @rule(target=prompts)
    def ask(self) -> str | MultipleResults[str]:
        name = str(len(self.asked))
        command = prompt(f"question {name}", name)
        if self.deleted:
            self.refused(command, ConversationNotFound)
            return multiple()
        self.accepted(command)
        self.asked.append(name)
        return name

    @rule(name=prompts, delivered=st.booleans())
    def settle(self, name: str, delivered: bool) -> None:
        command = answer(f"answer {name}", name) if delivered else failure(name)
        if name in self.answered or name in self.failed:
            self.refused(command, HoldNotOpen)
            return
        self.accepted(command)
        (self.answered if delivered else self.failed).append(name)
        if delivered:
            self.context.append(name)

    @rule(name=prompts)
    def a_stranger_interferes(self, name: str) -> None:
        for command in (answer("mine", name), failure(name), DELETE, prompt("let me in", "x")):
            self.refused(replace(command, user_id=STRANGER), ConversationNotFound)

    @rule(sure=st.integers(min_value=0, max_value=9))
    def delete(self, sure: int) -> None:
        if sure:  # seldom, because little happens afterwards
            return
        if self.deleted or self.state is None:
            self.refused(DELETE, ConversationNotFound)
            return
        self.accepted(DELETE)
        self.deleted = True
        self.context.clear()

    @invariant()
    def every_prompt_is_open_answered_or_failed_and_only_one_of_them(self) -> None:
        settled = [*self.answered, *self.failed]
        assert len(settled) == len(set(settled))
        if self.state is not None:
            assert [x.response_id for x in self.state.open] == [
                an_id(f"response-{name}") for name in self.asked if name not in settled
            ]

    @invariant()
    def the_context_is_what_was_answered_in_that_order(self) -> None:
        if self.state is not None:
            told = [(x.prompt_text, x.response_text) for x in self.state.answered]
            assert told == [(f"question {name}", f"answer {name}") for name in self.context]

    @invariant()
    def the_log_has_no_gap_and_its_replay_is_the_state(self) -> None:
        versions = [event.originator_version for event in self.events]
        assert versions == list(range(1, len(versions) + 1))
        replayed: ConversationState | None = None
        assert reduce(evolve, self.events, replayed) == self.state


ConversationLife.TestCase.settings = settings(stateful_step_count=30)
test_a_conversation_is_what_was_asked_and_answered = ConversationLife.TestCase
