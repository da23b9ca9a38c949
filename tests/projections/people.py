"""A person with an account and conversations; deciders have made all of their events."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from domain.accounts.commands import AccountCommand, RefundDebit
from domain.accounts.decider import decide as decide_account
from domain.accounts.decider import decide_refund
from domain.accounts.events import AccountEvent, CreditsDebited
from domain.accounts.state import AccountState
from domain.accounts.state import evolve as evolve_account
from domain.conversations.commands import ConversationCommand
from domain.conversations.decider import decide as decide_conversation
from domain.conversations.events import ConversationEvent
from domain.conversations.state import ConversationState
from domain.conversations.state import evolve as evolve_conversation
from domain.users.commands import UserCommand
from domain.users.decider import decide as decide_user
from domain.users.events import UserEvent
from domain.users.state import UserState
from domain.users.state import evolve as evolve_user


@dataclass
class Person:
    """debits: those that cost something and were not refunded."""

    user_id: UUID
    user: UserState | None = None
    account: AccountState | None = None
    conversations: dict[UUID, ConversationState] = field(default_factory=dict)
    debits: list[CreditsDebited] = field(default_factory=list)

    def draft(self) -> "Person":
        """A copy that can be thrown away."""
        return replace(self, conversations=dict(self.conversations), debits=list(self.debits))

    def for_user(self, now: datetime, command: UserCommand) -> tuple[UserEvent, ...]:
        events = decide_user(command, self.user, now)
        for event in events:
            self.user = evolve_user(self.user, event)
        return events

    def for_account(self, now: datetime, command: AccountCommand) -> tuple[AccountEvent, ...]:
        events = decide_account(command, self.account, now)
        for event in events:
            self.account = evolve_account(self.account, event)
        return events

    def refund(self, now: datetime, command: RefundDebit) -> tuple[AccountEvent, ...]:
        """Without the claim: these people are refunded each debit once."""
        _, events, self.account = decide_refund(command, self.account, None, now)
        return events

    def for_conversation(
        self, now: datetime, conversation_id: UUID, command: ConversationCommand
    ) -> tuple[ConversationEvent, ...]:
        state = self.conversations.get(conversation_id)
        events = decide_conversation(command, state, now)
        for event in events:
            state = evolve_conversation(state, event)
        if state is not None:
            self.conversations[conversation_id] = state
        return events
